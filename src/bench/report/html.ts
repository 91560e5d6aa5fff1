import { medianOf } from '../judge/compare.js';
import { type Bar, barChart, lineChart, type Series } from './charts.js';
import { checkReport } from './checkReport.js';
import { bytes, count, ms } from './format.js';
import { type BenchReport, type StepResult, stepName } from './results.js';
import { type Table, tablesOf } from './tables.js';
import { xml } from './text.js';

/** The report as one HTML file: no script, nothing loaded from elsewhere, for light and dark, wide and narrow. */
export function htmlReport(report: BenchReport): string {
  const { machine, steps } = checkReport('report', report);
  const charts = [
    distribution(steps),
    bySize(steps),
    rateOverTime(steps),
    errorsOverTime(steps),
    cpuBars(steps),
    memoryBars(steps),
  ];
  const { cpu, cores, node } = machine;
  const made = `${cpu}, ${cores} cores, Node ${node}, ${report.startedAt}`;
  return htmlPage({
    title: report.tool,
    command: report.command,
    made: report.complete ? made : `${made}, interrupted`,
    notes: report.notes,
    sections: [{ charts, tables: tablesOf(report) }],
  });
}

/** What a page shows: text as text, charts as `lineChart` and `barChart` give them. */
export interface HtmlPage {
  readonly title: string;
  readonly command: string;
  /** Where and when it was measured. */
  readonly made: string;
  readonly notes: readonly string[];
  readonly sections: readonly { readonly charts: readonly string[]; readonly tables: readonly Table[] }[];
}

export function htmlPage({ title, command, made, notes, sections }: HtmlPage): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${xml(title)} report</title>
<style>${STYLE}</style>
</head>
<body>
<header><h1>${xml(title)}</h1><p><code>${xml(command)}</code></p><p>${xml(made)}</p></header>
${notes.map((note) => `<p class="note">${xml(note)}</p>`).join('\n')}
${sections.map(({ charts, tables }) => `<div class="charts">${charts.join('\n')}</div>\n${tables.map(htmlTable).join('\n')}`).join('\n')}
</body>
</html>
`;
}

function htmlTable({ title, head, rows }: Table): string {
  const cells = (row: readonly string[]): string =>
    row
      .map(
        (cell, i) =>
          `<td${cell.length < 18 ? ' class="short"' : ''} data-head="${xml(head[i] ?? '')}">${xml(cell)}</td>`,
      )
      .join('');
  return `<section><h2>${xml(title)}</h2><div class="scroll"><table><thead><tr>${head.map((cell) => `<th>${xml(cell)}</th>`).join('')}</tr></thead><tbody>${rows.map((row) => `<tr>${cells(row)}</tr>`).join('')}</tbody></table></div></section>`;
}

/** The first turn of each step, and no more lines than can be told apart. */
function someSteps(steps: readonly StepResult[]): StepResult[] {
  return [...new Map(steps.map((step) => [stepName(step), step])).values()].slice(0, 8);
}

function distribution(steps: readonly StepResult[]): string {
  const series = someSteps(steps).map(
    (step): Series => ({
      name: stepName(step),
      points: step.all.distribution.filter(({ ms: y }) => y > 0).map(({ percentile, ms: y }) => ({ x: percentile, y })),
    }),
  );
  return lineChart(series, {
    title: 'Latency by percentile',
    xLabel: 'percentile of calls (%)',
    yLabel: 'latency (ms, log)',
    xScale: 'percentile',
    yScale: 'log',
    yFormat: ms,
  });
}

function bySize(steps: readonly StepResult[]): string {
  const targets = [...new Set(steps.map(({ target }) => target))].slice(0, 4);
  const sizes = new Set(steps.map(({ size }) => size));
  if (sizes.size < 2) return '';
  const series = targets.flatMap((target) =>
    (['p50', 'p99'] as const).map((figure): Series => {
      const groups = groupBy(steps, target);
      const points = [...groups].map(([x, group]) => ({
        x,
        y: medianOf(group.flatMap(({ all }) => all.latencyMs?.[figure] ?? [])),
      }));
      return {
        name: `${figure}, ${target}`,
        points: points.filter(({ y }) => Number.isFinite(y)).sort((a, b) => a.x - b.x),
      };
    }),
  );
  const closed = steps.every(({ model }) => model.startsWith('closed'));
  return lineChart(series, {
    title: 'Latency by load',
    xLabel: closed ? 'calls in flight (log)' : 'load (calls a second, log)',
    yLabel: 'latency (ms, log)',
    xScale: 'log',
    yScale: 'log',
    xFormat: count,
    yFormat: ms,
  });
}

function groupBy(steps: readonly StepResult[], target: string): Map<number, StepResult[]> {
  const groups = new Map<number, StepResult[]>();
  for (const step of steps) if (step.target === target) groups.set(step.size, [...(groups.get(step.size) ?? []), step]);
  return groups;
}

function rateOverTime(steps: readonly StepResult[]): string {
  const series = someSteps(steps).map(
    (step): Series => ({
      name: stepName(step),
      points: wholeSeconds(step).map(({ at, calls }) => ({ x: at, y: calls })),
    }),
  );
  return lineChart(series, {
    title: 'Throughput over time',
    xLabel: 'time (s)',
    yLabel: 'answers a second',
    xFormat: count,
    yFormat: count,
  });
}

/** The last second is a part of one: its count would look like a fall. */
const wholeSeconds = ({ all, durationMs }: StepResult) =>
  all.seconds.filter(({ at }) => (at + 1) * 1_000 <= durationMs + 50);

function errorsOverTime(steps: readonly StepResult[]): string {
  const failing = someSteps(steps).filter(({ all }) => all.errorRatio > 0);
  const series = failing.map(
    (step): Series => ({
      name: stepName(step),
      dots: true,
      points: step.all.seconds.map(({ at, errors }) => ({ x: at, y: errors })),
    }),
  );
  return lineChart(series, {
    title: 'Errors over time',
    xLabel: 'time (s)',
    yLabel: 'errors a second',
    xFormat: count,
    yFormat: count,
  });
}

function cpuBars(steps: readonly StepResult[]): string {
  return barChart(
    'CPU of all its processes, a call',
    barsOf(steps, ({ cpuPerCallUs }) => cpuPerCallUs),
    (us) => ms(us / 1_000),
  );
}

function memoryBars(steps: readonly StepResult[]): string {
  return barChart(
    'Resident memory of all its processes, peak',
    barsOf(steps, ({ processes }) => processes?.rssPeak),
    bytes,
  );
}

function barsOf(steps: readonly StepResult[], read: (step: StepResult) => number | undefined): Bar[] {
  return someSteps(steps).flatMap((step) => {
    const value = medianOf(
      steps.filter((each) => stepName(each) === stepName(step)).flatMap((each) => read(each) ?? []),
    );
    return Number.isFinite(value) && value > 0 ? [{ name: stepName(step), value }] : [];
  });
}

const STYLE = `
:root{--bg:#fff;--fg:#1b1f24;--soft:#57606a;--line:#d8dee4;--c0:#0969da;--c1:#bc4c00;--c2:#1a7f37;--c3:#8250df;--c4:#bf3989;--c5:#0e7c86;--c6:#9a6700;--c7:#57606a}
@media (prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--soft:#9aa4af;--line:#30363d;--c0:#58a6ff;--c1:#f0883e;--c2:#56d364;--c3:#bc8cff;--c4:#f778ba;--c5:#39c5cf;--c6:#e3b341;--c7:#9aa4af}}
*{box-sizing:border-box}body{margin:0 auto;padding:16px;max-width:1360px;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}
h1{font-size:22px;margin:0}h2{font-size:17px;margin:28px 0 8px}code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}p{margin:4px 0;overflow-wrap:anywhere}
.note{border-left:3px solid var(--c1);padding-left:10px;margin:12px 0}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:20px;margin-top:20px}
figure{margin:0;border:1px solid var(--line);border-radius:8px;padding:12px;min-width:0}figcaption{font-weight:600;margin-bottom:6px}
svg{width:100%;height:auto;display:block}svg.narrow{display:none}svg text{fill:var(--fg);font:12px system-ui,sans-serif}svg .label{fill:var(--soft)}
.grid{stroke:var(--line)}polyline{fill:none;stroke-width:2}circle{stroke:none}
${Array.from({ length: 8 }, (_, i) => `polyline.c${i}{stroke:var(--c${i})}circle.c${i}{fill:var(--c${i})}.bar.c${i}{background:var(--c${i})}.legend .c${i}::before{background:var(--c${i})}`).join('')}
.legend{list-style:none;margin:6px 0 0;padding:0;font-size:13px;overflow-wrap:anywhere}.legend li::before{content:"";display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:6px}
.bars{list-style:none;margin:0;padding:0}.bars li{display:grid;grid-template-columns:1fr auto;gap:2px 10px;margin:8px 0;font-size:13px}.bars .name{overflow-wrap:anywhere}.bars .track{grid-row:2;grid-column:1/3}.bars .bar{display:block;height:12px;border-radius:3px;min-width:2px}
table{border-collapse:collapse;width:100%;font-size:13px}th,td{padding:5px 8px;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:600}td{overflow-wrap:anywhere}@media (min-width:901px){td.short{white-space:nowrap}}
@media (max-width:900px){thead{display:none}tr{display:block;border:1px solid var(--line);border-radius:8px;margin:10px 0;padding:6px 0}td,td:first-child{display:flex;justify-content:space-between;gap:16px;text-align:right;border:0;padding:2px 10px}td::before{content:attr(data-head);color:var(--soft);text-align:left;flex:none}td:empty{display:none}}
@media (max-width:520px){svg.wide{display:none}svg.narrow{display:block}}
`;
