import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type Bar, barChart } from '../src/bench/report/charts.js';
import { htmlPage } from '../src/bench/report/html.js';
import type { Table } from '../src/bench/report/tables.js';
import { markdownTable, xml } from '../src/bench/report/text.js';
import { type Figure, format, type Race, type Report } from './harness.js';

/** Which run the figures are of. */
export interface Run {
  readonly command: string;
  /** Machine, Node and date, in words. */
  readonly made: string;
  readonly quick: boolean;
}

/** How many times slower than ours this is; ours is the first of its race. */
const against = ({ figures }: Race, { medianNs }: Figure): number => medianNs / (figures[0]?.medianNs ?? Number.NaN);

/**
 * Writes the page `file` (.html, one file, charts inside), and beside it the same as Markdown with its charts as `.svg` in the
 * folder of that name.
 */
export function writeBenchmarks(file: string, reports: readonly Report[], run: Run): string[] {
  const stem = basename(file).replace(/\.html?$/, '');
  const folder = dirname(file);
  const sections = reports.map((report) => ({
    charts: report.races.map((race) => barChart(chartTitle(race), barsOf(race), speed)),
    tables: tablesOf(report),
  }));
  const missed = reports.flatMap(({ targets }) => targets).filter(({ met }) => !met).length;
  const all = reports.flatMap(({ targets }) => targets).length;
  const notes = [`${all - missed} of ${all} targets met, ${missed} missed.`, HOW];
  if (run.quick) notes.push('A quick run: few rounds, so that figures are noisier than those of a full one.');
  mkdirSync(join(folder, stem), { recursive: true });
  writeFileSync(file, htmlPage({ title: 'mcp-poolkit benchmarks', ...run, notes, sections }));

  const written = [file];
  const lines = ['# Benchmarks', '', `\`${run.command}\`: ${run.made}.`, ...notes.flatMap((note) => ['', note])];
  for (const report of reports) {
    lines.push('', `## ${report.suite}`);
    if (report.races.length > 0) {
      const picture = join(folder, stem, `${report.suite}.svg`);
      writeFileSync(picture, svgOf(report.suite, report.races));
      written.push(picture);
      lines.push('', `![Speed of each in ${report.suite}](${stem}/${report.suite}.svg)`);
    }
    for (const table of tablesOf(report)) lines.push('', `### ${table.title}`, '', ...markdownTable(table));
  }
  const markdown = join(folder, `${stem}.md`);
  writeFileSync(markdown, `${lines.join('\n')}\n`);
  return [...written, markdown];
}

const HOW =
  'In each race the first row is what the ratios stand against: x2 takes twice its time. Rivals run in turns; figures are medians over turns. ' +
  'CPU is that of the measured process for each operation.';

/** Targets first, then each race, its ratios first. */
function tablesOf({ suite, races, targets, notes }: Report): Table[] {
  const wanted: Table = {
    title: `${suite}: targets`,
    head: ['target', 'got', 'wanted', 'verdict'],
    rows: targets.map(({ title, got, wanted, met }) => [title, round(got), wanted, met ? 'met' : 'MISSED']),
  };
  const tables = races.map((race): Table => {
    const load = race.figures.some(({ p99Ms }) => p99Ms !== undefined);
    return {
      title: `${race.title} (${race.rounds} ${race.rounds === 1 ? 'turn' : 'turns'})`,
      head: ['', 'ratio', 'median', 'min', 'max', 'CPU', ...(load ? ['p50', 'p99', 'RSS'] : [])],
      rows: race.figures.map((figure) => [
        figure.name,
        `x${round(against(race, figure))}`,
        ...[figure.medianNs, figure.minNs, figure.maxNs, figure.cpuNs].map(format),
        ...(load ? [inMs(figure.p50Ms), inMs(figure.p99Ms), inMiB(figure.rssBytes)] : []),
      ]),
    };
  });
  const said: Table = { title: `${suite}: beside them`, head: ['note'], rows: notes.map((note) => [note.trim()]) };
  return [wanted, ...tables, said].filter(({ rows }) => rows.length > 0);
}

const round = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toFixed(2));
const inMs = (value: number | undefined): string => (value === undefined ? '' : `${value.toFixed(2)} ms`);
const inMiB = (value: number | undefined): string => (value === undefined ? '' : `${(value / 2 ** 20).toFixed(0)} MiB`);

const chartTitle = ({ title }: Race): string => `${title}: speed, the first is 1`;

function barsOf(race: Race): Bar[] {
  return race.figures.map((figure) => ({ name: figure.name, value: 1 / against(race, figure) }));
}

const speed = (value: number): string => (value >= 0.01 ? value.toFixed(2) : value.toPrecision(1));

const WIDTH = 760;
const NAMES = 330;
const ROW = 20;

/** Bars of speed for every race of a suite, as a picture of its own that is legible on light and dark pages. */
function svgOf(suite: string, races: readonly Race[]): string {
  let y = 8;
  const parts = races.flatMap((race) => {
    const bars = barsOf(race);
    const most = Math.max(...bars.map(({ value }) => value));
    y += 22;
    const head = `<text class="head" x="8" y="${y}">${xml(chartTitle(race))}</text>`;
    const rows = bars.map(({ name, value }, i) => {
      y += ROW;
      const width = Math.max(1, (value / most) * (WIDTH - NAMES - 70)).toFixed(1);
      return (
        `<text x="${NAMES - 8}" y="${y}" text-anchor="end">${xml(name)}</text>` +
        `<rect class="${i === 0 ? 'first' : 'other'}" x="${NAMES}" y="${y - 11}" width="${width}" height="13"/>` +
        `<text x="${(NAMES + Number(width) + 6).toFixed(1)}" y="${y}">${speed(value)}</text>`
      );
    });
    y += 10;
    return [head, ...rows];
  });
  const style =
    'text{font:12px sans-serif;fill:#24292f}.head{font-weight:bold}.first{fill:#1565c0}.other{fill:#8c959f}.page{fill:#fff}' +
    '@media (prefers-color-scheme:dark){text{fill:#e6edf3}.first{fill:#58a6ff}.other{fill:#6e7681}.page{fill:#0d1117}}';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" role="img"><title>${xml(suite)}</title><style>${style}</style><rect class="page" width="${WIDTH}" height="${y}"/>${parts.join('')}</svg>\n`;
}
