import type { ServerRow, StatusData, TargetRow } from '../../gateway/status/StatusData.js';
import { plain } from '../output/plain.js';

const MAX_NAME = 40;
const MAX_EVENTS = 8;
const MAX_OPEN = 10;
/** Of the table: each cell is as wide as the longest of its column. A gateway of ours keeps within them. */
const MAX_CELL = 100;
const MAX_ROWS = 2_000;
/** Of any line: a gateway of ours cuts what it tells sooner. */
const MAX_LINE = 4_000;

const HEAD = [
  'server',
  'state',
  'era',
  'conns',
  'in flight',
  'waiting',
  'p50',
  'p99',
  'calls',
  'errors',
  'restarts',
  'memory',
];

/** How the servers of a gateway stand, as lines no wider than `width`. */
export function statusLines({ snapshot, events }: StatusData, width = Number.POSITIVE_INFINITY): string[] {
  const { gateway, process, servers, open, openMore, version, at, startedAt } = snapshot;
  const lines = [
    `mcp-poolkit ${plain(version)}, up ${duration(at - startedAt)}: ${gateway.sessions} sessions, ${gateway.streams} streams, ` +
      `${gateway.inFlight} in flight, loop delay p99 ${ms(process.delayP99)}${gateway.refusing ? ', stopping' : ''}`,
    '',
    ...serversTable(servers),
  ];
  const failing = servers.filter(({ lastError, state }) => lastError !== null && /^(failed|degraded)$/.test(state));
  for (const { name, lastError } of failing.slice(0, MAX_ROWS)) {
    lines.push(`  ${plain(name, MAX_NAME)}: ${firstLine(lastError ?? '')}`);
  }
  addMore(lines, MAX_ROWS, failing.length);
  if (open.length > 0) {
    lines.push('', 'Calls in flight, oldest first:');
    const shown = [...open].sort((a, b) => b.ageMs - a.ageMs).slice(0, MAX_OPEN);
    lines.push(
      ...table(
        shown.map(({ method, target, ageMs, at: where }) => [
          duration(ageMs),
          plain(target === null ? method : `${method} ${target}`, 2 * MAX_NAME),
          where.map(({ server, sent }) => `${plain(server, MAX_NAME)}: ${sent ? 'sent' : 'waiting'}`).join(', '),
        ]),
      ),
    );
    addMore(lines, shown.length, openMore + open.length);
  }
  if (events.length > 0) {
    lines.push('', 'What happened:');
    for (const { at: when, kind, server, text } of events.slice(-MAX_EVENTS).reverse()) {
      const of = server === null ? '' : `${plain(server, MAX_NAME)}: `;
      lines.push(`  ${new Date(when).toTimeString().slice(0, 8)}  ${kind.padEnd(9)}  ${of}${plain(text, MAX_LINE)}`);
    }
  }
  // What is a word or a number of a gateway of ours may be anything of another.
  return lines.map((line) => plain(line, Math.min(width, MAX_LINE)));
}

const firstLine = (text: string): string => plain(text.slice(0, MAX_LINE).split('\n')[0] ?? '');

function addMore(lines: string[], shown: number, all: number): void {
  if (all > shown) lines.push(`  and ${all - shown} more`);
}

function serversTable(servers: readonly ServerRow[]): string[] {
  const rows = servers.flatMap((server) => [
    () => cellsOf(server),
    ...(server.targets ?? []).map((target) => () => targetCells(target)),
  ]);
  const shown = rows.slice(0, MAX_ROWS).map((cells) => cells());
  const lines = table([HEAD, ...shown]);
  addMore(lines, shown.length, rows.length);
  return lines;
}

function cellsOf(server: ServerRow): string[] {
  const { name, state, breaker, era, transport, connections, inFlight, waiting, p50, p99, calls, errors, restarts } =
    server;
  return [
    plain(name, MAX_NAME),
    breaker === 'closed' ? state : `${state}, breaker ${breaker}`,
    era === null ? transport : `${era}, ${transport}`,
    ...[connections, inFlight, waiting].map(String),
    ms(p50),
    ms(p99),
    ...[calls, errors, restarts].map(String),
    server.memory === null ? '-' : `${Math.round(server.memory / 2 ** 20)} MiB`,
  ];
}

/** Below its server, under the same heads. */
function targetCells({
  id,
  role,
  zone,
  state,
  breaker,
  inFlight,
  p50,
  p99,
  picked,
  backInMs,
  share,
}: TargetRow): string[] {
  const left =
    backInMs > 0 ? `, left alone for ${duration(backInMs)}` : share < 1 ? `, ${Math.round(share * 100)} %` : '';
  const where = zone === null ? '' : ` (${plain(zone, MAX_NAME)})`;
  return [
    `  ${plain(id, MAX_NAME)}${where}`,
    `${role === 'target' ? '' : `${role}, `}${state}${breaker === 'closed' ? '' : `, breaker ${breaker}`}${left}`,
    '',
    '',
    String(inFlight),
    '',
    ms(p50),
    ms(p99),
    String(picked),
  ];
}

function table(given: readonly (readonly string[])[]): string[] {
  const rows = given.map((row) => row.map((cell) => (cell.length > MAX_CELL ? plain(cell, MAX_CELL) : cell)));
  const widths = (rows[0] ?? []).map((_, column) =>
    rows.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), 0),
  );
  return rows.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd());
}

/** A gateway of another version may not tell it. */
function ms(value: number | null | undefined): string {
  if (typeof value !== 'number') return '-';
  return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}

function duration(value: number): string {
  const s = Math.floor(value / 1_000);
  if (s < 60) return `${s} s`;
  return s < 3_600
    ? `${Math.floor(s / 60)} min ${s % 60} s`
    : `${Math.floor(s / 3_600)} h ${Math.floor((s % 3_600) / 60)} min`;
}
