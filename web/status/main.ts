import 'uplot/dist/uPlot.min.css';
import type { Point, StatusData, StatusSnapshot, TimelineEvent } from '../../src/gateway/status/StatusData.js';
import { setToken } from './actions.js';
import { redrawChart, showChart, sizeChart } from './chart.js';
import { byId, bytes, duration, element, ms, setText } from './dom.js';
import { clearEvents, showEvent } from './events.js';
import { showOpen } from './open.js';
import { Past } from './Past.js';
import { showServers } from './servers.js';
import { listTryServers, setUpTry } from './tryTool.js';

interface Hello extends StatusData {
  readonly token: string | null;
}

const past = new Past();
let names: readonly string[] = [];

function showLive(state: 'live' | 'connecting' | 'lost'): void {
  const live = byId('live');
  live.dataset['live'] = state;
  setText(live, state === 'lost' ? 'the gateway is gone: trying again' : state);
}

function show(snapshot: StatusSnapshot): void {
  const { servers, gateway, process, open, openMore, version, at, startedAt } = snapshot;
  names = servers.map(({ name }) => name);
  setText(byId('version'), version);
  figures([
    ['up', duration(at - startedAt)],
    ['sessions', String(gateway.sessions)],
    ['streams', String(gateway.streams)],
    ['requests', String(gateway.requests)],
    ['in flight', String(gateway.inFlight)],
    ['loop delay p99', ms(process.delayP99)],
    ['memory', bytes(process.memory)],
    ...(gateway.refusing ? [['stopping', 'yes'] as const] : []),
  ]);
  showServers(servers, past);
  showOpen(open, openMore);
  listTryServers(names);
}

function figures(all: readonly (readonly [string, string])[]): void {
  const list = byId('figures');
  all.forEach(([name, value], index) => {
    let item = list.children[index] as HTMLElement | undefined;
    if (item === undefined) {
      item = element('div');
      item.append(element('dt'), element('dd'));
      list.append(item);
    }
    setText(item.children[0] as HTMLElement, name);
    setText(item.children[1] as HTMLElement, value);
  });
  while (list.childElementCount > all.length) list.lastElementChild?.remove();
}

function connect(): void {
  const source = new EventSource('status/events');
  const on = <T>(event: string, take: (data: T) => void): void =>
    source.addEventListener(event, (message) => take(JSON.parse((message as MessageEvent<string>).data) as T));
  on<Hello>('hello', ({ token, snapshot, history, events }) => {
    setToken(token);
    clearEvents();
    past.reset(history.times, history.servers);
    for (const event of events) showEvent(event);
    show(snapshot);
    showChart(past, names);
    showLive('live');
  });
  on<StatusSnapshot>('snapshot', show);
  on<TimelineEvent>('event', showEvent);
  on<{ readonly at: number; readonly servers: Readonly<Record<string, Point>> }>('points', ({ at, servers }) => {
    past.add(at, servers);
    showChart(past, names);
  });
  source.addEventListener('error', () => {
    showLive('lost');
    // A refusal, such as 503, ends an event source for good: begin again.
    if (source.readyState !== EventSource.CLOSED) return;
    source.close();
    setTimeout(connect, 1_000);
  });
}

for (const id of ['chart-server', 'chart-what']) byId(id).addEventListener('change', () => showChart(past, names));
window.addEventListener('resize', sizeChart);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  redrawChart();
  showChart(past, names);
});
setUpTry();
connect();
