import type { ServerRow, TargetRow } from '../../src/gateway/status/StatusData.js';
import { actAndTell, canAct, confirmed } from './actions.js';
import { button, byId, bytes, element, ms, setText } from './dom.js';
import type { Past } from './Past.js';
import { drawSpark } from './spark.js';

const COLUMNS = [
  'state',
  'era',
  'connections',
  'inFlight',
  'waiting',
  'p50',
  'p99',
  'calls',
  'errors',
  'restarts',
  'memory',
] as const;
const LABELS = ['State', 'Era', 'Conns', 'In flight', 'Waiting', 'p50', 'p99', 'Calls', 'Errors', 'Restarts', 'Memory'];

interface Row {
  readonly tr: HTMLTableRowElement;
  readonly name: HTMLElement;
  readonly why: HTMLElement;
  readonly cells: ReadonlyMap<string, HTMLElement>;
  readonly spark: HTMLCanvasElement;
  readonly restart: HTMLButtonElement;
  readonly toggle: HTMLButtonElement;
  state: string;
}

const rows = new Map<string, Row>();

export function showServers(servers: readonly ServerRow[], past: Past): void {
  const body = byId('servers').querySelector('tbody') as HTMLElement;
  const names = new Set(servers.map(({ name }) => name));
  for (const [name, row] of rows) {
    if (names.has(name)) continue;
    row.tr.remove();
    rows.delete(name);
  }
  for (const server of servers) {
    let row = rows.get(server.name);
    if (row === undefined) {
      row = makeRow(server.name);
      rows.set(server.name, row);
      body.append(row.tr);
    }
    fill(row, server);
    drawSpark(row.spark, past.of(server.name, 'calls'));
  }
}

const BAD_STATES: ReadonlySet<string> = new Set(['failed', 'degraded']);

/** One line for each target of a server. */
function targetText({ id, role, state, zone, picked, inFlight, backInMs, share }: TargetRow): string {
  const left = backInMs > 0 ? `, left alone for ${Math.ceil(backInMs / 1_000)} s` : share < 1 ? `, coming back` : '';
  const kind = role === 'target' ? '' : ` (${role})`;
  const where = zone === null ? '' : ` in ${zone}`;
  return `${id}${kind}${where}: ${state}${left}, ${inFlight} in flight, ${picked} calls`;
}

function fill(row: Row, server: ServerRow): void {
  const { state, breaker, inFlight, waiting, calls, errors, restarts, connections, p50, p99, memory } = server;
  row.state = state;
  const badge = row.cells.get('state')?.firstElementChild as HTMLElement;
  badge.className = `badge ${state}`;
  setText(badge, breaker === 'closed' ? state : `${state}, breaker ${breaker}`);
  const set = (column: string, text: string, alarm = false): void => {
    const cell = row.cells.get(column) as HTMLElement;
    setText(cell, text);
    cell.classList.toggle('alarm', alarm);
  };
  set('era', server.era === null ? server.transport : `${server.era}, ${server.transport}`);
  set('connections', String(connections));
  set('inFlight', String(inFlight));
  set('waiting', String(waiting), waiting > 0);
  set('p50', ms(p50));
  set('p99', ms(p99));
  set('calls', String(calls));
  set('errors', String(errors), errors > 0);
  set('restarts', String(restarts), restarts > 0);
  set('memory', bytes(memory));
  const failing = state === 'failed' || state === 'degraded';
  const why = failing && server.lastError !== null ? [server.lastError] : [];
  const troubled = (server.targets ?? []).filter((each) => each.backInMs > 0 || BAD_STATES.has(each.state));
  setText(row.why, [...why, ...troubled.map(targetText)].join('\n'));
  row.why.title = (server.targets ?? []).map(targetText).join('\n');
  const stopped = state === 'stopped';
  setText(row.toggle, stopped ? 'Start' : 'Stop');
  row.restart.disabled = stopped;
}

function makeRow(name: string): Row {
  const tr = element('tr');
  tr.dataset['server'] = name;
  const nameCell = element('td', 'name');
  const label = element('strong', '', name);
  const why = element('div', 'why');
  nameCell.append(label, why);
  tr.append(nameCell);
  const cells = new Map<string, HTMLElement>();
  COLUMNS.forEach((column, index) => {
    const cell = element('td', index > 1 ? 'n' : '');
    cell.dataset['label'] = LABELS[index] ?? '';
    if (column === 'state') cell.append(element('span', 'badge'));
    cells.set(column, cell);
    tr.append(cell);
  });
  const chart = element('td', 'chart');
  chart.dataset['label'] = 'Calls';
  const spark = element('canvas', 'spark');
  spark.setAttribute('role', 'img');
  spark.setAttribute('aria-label', 'calls of the last 15 minutes');
  chart.append(spark);
  const actions = element('td', 'act');
  const restart = button('Restart', `Restart ${name}`, () => void ask('restart', name));
  const toggle = button('Stop', `Stop or start ${name}`, () => {
    const state = rows.get(name)?.state;
    void ask(state === 'stopped' ? 'start' : 'stop', name);
  });
  actions.append(restart, toggle);
  tr.append(chart, actions);
  return { tr, name: label, why, cells, spark, restart, toggle, state: '' };
}

async function ask(action: 'restart' | 'stop' | 'start', server: string): Promise<void> {
  if (!canAct()) return;
  const sure =
    action === 'start' ||
    (await confirmed(
      `${action === 'stop' ? 'Stop' : 'Restart'} ${server}? Calls in flight get their grace, then fail.`,
    ));
  if (sure) await actAndTell({ action, server });
}
