import { xml } from './text.js';

export interface Series {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
  /** Dots alone, for what happens now and then. */
  readonly dots?: boolean;
}

export interface ChartOptions {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly xScale?: 'linear' | 'log' | 'percentile';
  readonly yScale?: 'linear' | 'log';
  readonly xFormat?: (value: number) => string;
  readonly yFormat?: (value: number) => string;
}

export interface Bar {
  readonly name: string;
  readonly value: number;
}

/** Colours by number, legible on light and dark; the page's style sheet has them. */
const COLOURS = 8;

/** A chart in two widths: narrow screens get letters of the same size, not a smaller picture. */
export function lineChart(series: readonly Series[], options: ChartOptions): string {
  const drawn = series.filter(({ points }) => points.length > 0);
  if (drawn.length === 0) return '';
  const legend = drawn.map(({ name }, i) => `<li class="c${i % COLOURS}">${xml(name)}</li>`).join('');
  const draw = (width: number, kind: string): string => lineSvg(drawn, options, width, kind);
  return `<figure><figcaption>${xml(options.title)}</figcaption>${draw(620, 'wide')}${draw(330, 'narrow')}<ul class="legend">${legend}</ul></figure>`;
}

const HEIGHT = 260;
const MARGIN = { left: 78, right: 14, top: 12, bottom: 44 };

function lineSvg(series: readonly Series[], options: ChartOptions, width: number, kind: string): string {
  const { xScale = 'linear', yScale = 'linear', xFormat = String, yFormat = String } = options;
  const all = series.flatMap(({ points }) => points);
  const x = scaleOf(
    all.map((p) => p.x),
    xScale,
    MARGIN.left,
    width - MARGIN.right,
    width < 400 ? 4 : 7,
  );
  const y = scaleOf(
    all.map((p) => p.y),
    yScale,
    HEIGHT - MARGIN.bottom,
    MARGIN.top,
    5,
  );
  const grid = y.ticks.map((tick) => {
    const at = y.at(tick).toFixed(1);
    return `<line class="grid" x1="${MARGIN.left}" x2="${width - MARGIN.right}" y1="${at}" y2="${at}"/><text x="${MARGIN.left - 6}" y="${at}" dy="4" text-anchor="end">${xml(yFormat(tick))}</text>`;
  });
  const axis = x.ticks.map(
    (tick) =>
      `<text x="${x.at(tick).toFixed(1)}" y="${HEIGHT - MARGIN.bottom + 16}" text-anchor="middle">${xml(xFormat(tick))}</text>`,
  );
  const lines = series.map(({ points, dots }, i) => {
    const at = points.map((p) => [x.at(p.x).toFixed(1), y.at(p.y).toFixed(1)] as const);
    const path =
      dots === true ? '' : `<polyline class="c${i % COLOURS}" points="${at.map((each) => each.join(',')).join(' ')}"/>`;
    const marks =
      points.length <= 40 || dots === true
        ? at.map(([cx, cy]) => `<circle class="c${i % COLOURS}" cx="${cx}" cy="${cy}" r="2.5"/>`).join('')
        : '';
    return path + marks;
  });
  const middle = (MARGIN.left + width - MARGIN.right) / 2;
  return `<svg class="${kind}" viewBox="0 0 ${width} ${HEIGHT}" role="img" aria-label="${xml(options.title)}">${grid.join('')}${axis.join('')}${lines.join('')}<text class="label" x="${middle}" y="${HEIGHT - 6}" text-anchor="middle">${xml(options.xLabel)}</text><text class="label" transform="translate(13 ${HEIGHT / 2 - 12}) rotate(-90)" text-anchor="middle">${xml(options.yLabel)}</text></svg>`;
}

interface Scale {
  readonly ticks: readonly number[];
  at(value: number): number;
}

function scaleOf(
  values: readonly number[],
  kind: 'linear' | 'log' | 'percentile',
  from: number,
  to: number,
  count: number,
): Scale {
  const transform = TRANSFORMS[kind];
  const places = values.map((each) => transform(each));
  const low = kind === 'linear' ? 0 : places.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const high = places.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const span = high - low || 1;
  const at = (value: number): number => from + ((transform(value) - low) / span) * (to - from);
  if (kind === 'percentile')
    return { at, ticks: [0, 50, 90, 99, 99.9].filter((tick) => transform(tick) <= high + 1e-9) };
  if (kind === 'log') return { at, ticks: logTicks(values, count) };
  return { at, ticks: linearTicks(low, high, count) };
}

const TRANSFORMS = {
  linear: (value: number) => value,
  log: (value: number) => Math.log10(Math.max(value, 1e-6)),
  // Each nine of a percentile takes the same room (HdrHistogram's plots); 100 stands one nine past the last.
  percentile: (value: number) => -Math.log10(Math.max(1e-5, 1 - value / 100)),
};

function linearTicks(low: number, high: number, count: number): number[] {
  const raw = (high - low || 1) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((each) => each * power >= raw) ?? 10);
  const ticks: number[] = [];
  for (let tick = low; tick <= high + step * 1e-9; tick += step) ticks.push(Number(tick.toPrecision(12)));
  return ticks;
}

/** Values that are there when few, else powers of ten with what lies between them. */
function logTicks(values: readonly number[], count: number): number[] {
  const there = [...new Set(values)].sort((a, b) => a - b);
  if (there.length <= count) return there;
  const [low, high] = [Math.max(1e-6, there[0] ?? 1), there.at(-1) ?? 1];
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const step of [1, 2, 5]) {
      const tick = step * 10 ** power;
      if (tick >= low && tick <= high) ticks.push(Number(tick.toPrecision(3)));
    }
  }
  return ticks.length <= count + 2 ? ticks : ticks.filter((_, i) => i % Math.ceil(ticks.length / count) === 0);
}

/** Bars one under the other, each with its name and its value in words. */
export function barChart(title: string, bars: readonly Bar[], format: (value: number) => string): string {
  const high = bars.reduce((most, { value }) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  if (bars.length === 0 || !(high > 0)) return '';
  const rows = bars.map(
    ({ name, value }, i) =>
      `<li><span class="name">${xml(name)}</span><span class="track"><span class="bar c${i % COLOURS}" style="width:${((value / high) * 100).toFixed(1)}%"></span></span><span class="value">${xml(format(value))}</span></li>`,
  );
  return `<figure><figcaption>${xml(title)}</figcaption><ul class="bars">${rows.join('')}</ul></figure>`;
}
