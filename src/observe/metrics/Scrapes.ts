import { systemClock } from '../../core/clock.js';
import { restMs } from '../../core/time/backoff.js';
import { inSlices } from '../../core/time/inSlices.js';
import { sleep } from '../../core/time/sleep.js';
import { inTurn } from '../../core/time/turns.js';
import type { Labels, MetricFamily } from './collect.js';
import { BUCKETS_S, type Histogram } from './Histogram.js';

/** The longest rest between two scrapes. */
const MAX_REST_MS = 1_000;
/** Of the text, so much is made into bytes at a time. */
const PIECE_CHARS = 64 * 1_024;

/**
 * What Prometheus reads (text format 0.0.4), made in turns of the event loop: one for all that ask until it is begun. What it tells is
 * never older than the question.
 */
export class Scrapes implements Disposable {
  static readonly TYPE = 'text/plain; version=0.0.4; charset=utf-8';
  readonly #collect: () => readonly MetricFamily[];
  readonly #closed = new AbortController();
  /** Not begun yet. */
  #next: Promise<readonly Buffer[]> | undefined;
  #rested: Promise<void> = Promise.resolve();

  constructor(collect: () => readonly MetricFamily[]) {
    this.#collect = collect;
  }

  text(): Promise<readonly Buffer[]> {
    this.#next ??= this.#scrape(this.#rested);
    return this.#next;
  }

  /** None rests any more. */
  [Symbol.dispose](): void {
    this.#closed.abort();
  }

  async #scrape(rested: Promise<void>): Promise<readonly Buffer[]> {
    await rested;
    const startMs = systemClock.now();
    let end = (): void => undefined;
    try {
      const families = await inTurn(() => {
        this.#next = undefined;
        this.#rested = new Promise((resolve) => {
          end = resolve;
        });
        return this.#collect();
      });
      return await textOf(families);
    } finally {
      const pauseMs = restMs(systemClock.now() - startMs, MAX_REST_MS);
      void sleep(systemClock, pauseMs, { signal: this.#closed.signal, ref: false }).then(end, end);
    }
  }
}

async function textOf(families: readonly MetricFamily[]): Promise<readonly Buffer[]> {
  const pieces: Buffer[] = [];
  let text = '';
  const lines = linesOf(families);
  await inSlices(() => {
    const { done, value } = lines.next();
    if (done !== true) text += value;
    if (done === true || text.length > PIECE_CHARS) {
      pieces.push(Buffer.from(text));
      text = '';
    }
    return done === true;
  });
  return pieces;
}

function* linesOf(families: readonly MetricFamily[]): Generator<string, void> {
  for (const { spec, samples } of families) {
    const { name, help, type } = spec;
    yield `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
    for (const { labels, value } of samples)
      yield typeof value === 'number' ? line(name, labels, value) : histogram(name, labels, value);
  }
}

function histogram(name: string, labels: Labels, value: Histogram): string {
  const own = said(labels);
  const before = own === '' ? '' : `${own},`;
  let text = '';
  value.cumulative().forEach((count, at) => {
    text += `${name}_bucket{${before}le="${BUCKETS_S[at] ?? '+Inf'}"} ${count}\n`;
  });
  return text + line(`${name}_sum`, labels, value.sumSeconds) + line(`${name}_count`, labels, value.count);
}

function line(name: string, labels: Labels, value: number): string {
  const own = said(labels);
  return `${name}${own === '' ? '' : `{${own}}`} ${value}\n`;
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['\\', '\\\\'],
  ['\n', '\\n'],
  ['"', '\\"'],
]);

const said = (labels: Labels): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}="${value.replace(/[\\\n"]/g, (each) => ESCAPES.get(each) ?? each)}"`)
    .join(',');
