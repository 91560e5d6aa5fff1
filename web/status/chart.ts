import uPlot from 'uplot';
import { byId, element } from './dom.js';
import type { Figure, Past } from './Past.js';

const COLOURS = [
  '#3b82f6',
  '#f59e0b',
  '#10b981',
  '#ef4444',
  '#8b5cf6',
  '#06b6d4',
  '#ec4899',
  '#84cc16',
  '#f97316',
  '#64748b',
];
const ALL = '';
/** Of 15 minutes. */
const SPAN_S = 900;
/** Lines of one chart; the busiest servers. */
const MAX_LINES = 10;

let plot: uPlot | undefined;
let lines: readonly string[] = [];

/** Draws what the two lists choose; keeps the list of servers in step. */
export function showChart(past: Past, names: readonly string[]): void {
  const select = byId<HTMLSelectElement>('chart-server');
  listServers(select, names);
  const figure = byId<HTMLSelectElement>('chart-what').value as Figure;
  const chosen = select.value === ALL ? busiest(past, names, figure) : [select.value];
  const factor = figure === 'memory' ? 1 / 2 ** 20 : 1;
  const data = [
    past.times.map((at) => at / 1_000),
    ...chosen.map((name) => past.of(name, figure).map((value) => (value === null ? null : value * factor))),
  ] as uPlot.AlignedData;
  if (plot === undefined || chosen.join('\n') !== lines.join('\n')) make(chosen, data);
  else plot.setData(data);
  lines = chosen;
}

export function redrawChart(): void {
  lines = ['\n'];
}

function listServers(select: HTMLSelectElement, names: readonly string[]): void {
  const wanted = [ALL, ...names];
  if ([...select.options].map(({ value }) => value).join('\n') === wanted.join('\n')) return;
  const before = select.value;
  select.replaceChildren(
    ...wanted.map((name) => {
      const option = element('option', '', name === ALL ? 'all' : name);
      option.value = name;
      return option;
    }),
  );
  if (wanted.includes(before)) select.value = before;
}

function busiest(past: Past, names: readonly string[], figure: Figure): string[] {
  const sum = (name: string): number => past.of(name, figure).reduce<number>((all, value) => all + (value ?? 0), 0);
  if (names.length <= MAX_LINES) return [...names];
  return [...names].sort((a, b) => sum(b) - sum(a)).slice(0, MAX_LINES);
}

function make(chosen: readonly string[], data: uPlot.AlignedData): void {
  plot?.destroy();
  const box = byId('chart');
  const style = getComputedStyle(document.body);
  const stroke = style.color;
  const grid = { stroke: style.getPropertyValue('--line') || '#8884', width: 1 };
  const axis = { stroke, grid: { ...grid, stroke: 'rgba(128,128,128,.25)' }, ticks: { show: false } };
  plot = new uPlot(
    {
      width: box.clientWidth,
      height: 240,
      legend: { show: false },
      cursor: { drag: { x: false, y: false } },
      scales: {
        x: { range: (_, __, newest) => [(newest ?? 0) - SPAN_S, newest ?? 0] },
        y: { range: (_, __, max) => [0, Math.max(1, (max ?? 0) * 1.1)] },
      },
      axes: [
        { ...axis, values: (_, ticks) => ticks.map(timeOf) },
        { ...axis, size: 60 },
      ],
      series: [
        {},
        ...chosen.map((label, index) => ({
          label,
          stroke: COLOURS[index % COLOURS.length] as string,
          width: 1.5,
          points: { show: false },
        })),
      ],
    },
    data,
    box,
  );
  byId('legend').replaceChildren(
    ...chosen.map((name, index) => {
      const item = element('li');
      const line = element('i');
      line.style.background = COLOURS[index % COLOURS.length] as string;
      item.append(line, document.createTextNode(element('span', '', name).textContent ?? ''));
      return item;
    }),
  );
}

function timeOf(seconds: number): string {
  return new Date(seconds * 1_000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hour12: false });
}

export function sizeChart(): void {
  plot?.setSize({ width: byId('chart').clientWidth, height: 240 });
}
