import { OptionError } from '../../core/errors.js';
import { checkBytes, checkCount, checkMs, checkOneOf, checkRatio, checkText } from '../../core/options.js';

/** A time in ms: fixed, or drawn anew for each call from the plan's seed. */
export type Latency =
  | number
  | { readonly uniform: readonly [minMs: number, maxMs: number] }
  | { readonly lognormal: { readonly medianMs: number; readonly sigma: number } }
  | { readonly spike: { readonly ratio: number; readonly baseMs: number; readonly peakMs: number } };

/** What a fault can be told, beside its name. Each fault takes those that its entry in `FAULTS` lists. */
export interface FaultSettings {
  /** How late, in ms. @defaultValue the plan's `delayMs` */
  readonly delayMs?: Latency;
  /** The JSON-RPC code of an error answer. @defaultValue -32603 */
  readonly code?: number;
  /** Its words. @defaultValue 'the fault plan failed it' */
  readonly message?: string;
  /** Its `data`, any JSON. @defaultValue none */
  readonly data?: unknown;
  /** The exit code of a process that ends, 0 to 255. @defaultValue 1 */
  readonly exitCode?: number;
  /** The signal that ends it, instead of a code. @defaultValue the fault's own */
  readonly signal?: string;
  /** How many bytes, from 1. @defaultValue the fault's own */
  readonly bytes?: number;
  /** How many lines, notifications or requests, from 1. @defaultValue the fault's own */
  readonly count?: number;
  /** The HTTP status, 200 to 599. @defaultValue 500 */
  readonly status?: number;
  /** `Retry-After`: seconds as a number; `'date'` says the same, `retryAfterMs` away, as a date. @defaultValue none */
  readonly retryAfter?: number | 'date';
  /** How far away a `Retry-After` date or an SSE `retry:` is, in ms. @defaultValue 2000 */
  readonly retryAfterMs?: number;
  /** Where a redirect leads. @defaultValue 'http://127.0.0.1:1/' */
  readonly location?: string;
  /** The content type instead of the right one; empty: none. @defaultValue 'text/html' */
  readonly contentType?: string;
  /** The tool that vanishes or changes. @defaultValue the first of the list */
  readonly of?: string;
  /** What is left of a stream: the part of an event that still goes out. @defaultValue the fault's own */
  readonly at?: 'before' | 'inside' | 'after';
  /** The direction of a TCP fault: `upstream` is what the client sends, `downstream` what it gets. @defaultValue 'downstream' */
  readonly stream?: 'upstream' | 'downstream';
  /** How fast bytes pass, in bytes a second, from 1. @defaultValue 1024 */
  readonly bytesPerSec?: number;
}

interface Setting {
  readonly doc: string;
  readonly schema: object;
  check(place: string, value: unknown): unknown;
}

const MS = { type: 'number', minimum: 0 } as const;

/** Every setting: its meaning, its JSON schema, its check. */
export const SETTINGS: Readonly<Record<keyof FaultSettings, Setting>> = Object.freeze({
  delayMs: {
    doc: 'how late in ms: a number, or uniform, lognormal or spike',
    schema: {
      anyOf: [
        MS,
        shape({ uniform: { type: 'array', items: MS, minItems: 2, maxItems: 2 } }),
        shape({ lognormal: shape({ medianMs: MS, sigma: MS }) }),
        shape({ spike: shape({ ratio: { type: 'number', minimum: 0, maximum: 1 }, baseMs: MS, peakMs: MS }) }),
      ],
    },
    check: checkLatency,
  },
  code: { doc: 'the JSON-RPC code', schema: { type: 'integer' }, check: checkCode },
  message: { doc: 'the words of the error', schema: { type: 'string', minLength: 1 }, check: checkText },
  data: { doc: 'the data of the error', schema: {}, check: (_, value) => value },
  exitCode: {
    doc: 'the exit code',
    schema: { type: 'integer', minimum: 0, maximum: 255 },
    check: (place, value) => checkCount(place, value, { max: 255 }),
  },
  signal: {
    doc: 'the signal that ends it',
    schema: { enum: ['SIGKILL', 'SIGTERM', 'SIGABRT', 'SIGSEGV', 'SIGHUP'] },
    check: (place, value) => checkOneOf(place, value, ['SIGKILL', 'SIGTERM', 'SIGABRT', 'SIGSEGV', 'SIGHUP']),
  },
  bytes: {
    doc: 'how many bytes',
    schema: { type: 'integer', minimum: 1, maximum: 2 ** 30 },
    check: (place, value) => checkBytes(place, value, { min: 1, max: 2 ** 30 }),
  },
  count: {
    doc: 'how many',
    schema: { type: 'integer', minimum: 1, maximum: 1_000_000 },
    check: (place, value) => checkCount(place, value, { min: 1, max: 1_000_000 }),
  },
  status: {
    doc: 'the HTTP status',
    schema: { type: 'integer', minimum: 200, maximum: 599 },
    check: (place, value) => checkCount(place, value, { min: 200, max: 599 }),
  },
  retryAfter: {
    doc: "Retry-After: seconds, or 'date'",
    schema: { anyOf: [{ type: 'integer', minimum: 0 }, { const: 'date' }] },
    check: (place, value) => (value === 'date' ? value : checkCount(place, value)),
  },
  retryAfterMs: { doc: 'how far away the date or the retry is, in ms', schema: MS, check: checkMs },
  location: { doc: 'where a redirect leads', schema: { type: 'string', minLength: 1 }, check: checkText },
  contentType: { doc: 'the content type; empty: none', schema: { type: 'string' }, check: checkString },
  of: { doc: 'which tool', schema: { type: 'string', minLength: 1 }, check: checkText },
  at: {
    doc: 'where the stream is cut',
    schema: { enum: ['before', 'inside', 'after'] },
    check: (place, value) => checkOneOf(place, value, ['before', 'inside', 'after']),
  },
  stream: {
    doc: 'which direction: upstream is what the client sends',
    schema: { enum: ['upstream', 'downstream'] },
    check: (place, value) => checkOneOf(place, value, ['upstream', 'downstream']),
  },
  bytesPerSec: {
    doc: 'how many bytes pass in a second',
    schema: { type: 'integer', minimum: 1 },
    check: (place, value) => checkCount(place, value, { min: 1 }),
  },
});

/** What a latency comes to, by one draw from 0 to 1 and another. */
export function drawLatency(latency: Latency, random: () => number): number {
  if (typeof latency === 'number') return latency;
  if ('uniform' in latency) return latency.uniform[0] + (latency.uniform[1] - latency.uniform[0]) * random();
  if ('spike' in latency) return random() < latency.spike.ratio ? latency.spike.peakMs : latency.spike.baseMs;
  const { medianMs, sigma } = latency.lognormal;
  // Box and Muller: two even draws are one normal.
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return medianMs * Math.exp(sigma * normal);
}

function shape(properties: Record<string, object>): object {
  return { type: 'object', properties, required: Object.keys(properties), additionalProperties: false };
}

function checkLatency(place: string, value: unknown): Latency {
  if (typeof value === 'number') return checkMs(place, value);
  const given = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const [kind = '', ...more] = Object.keys(given);
  const inner = (given[kind] ?? {}) as Record<string, unknown>;
  if (more.length === 0 && kind === 'uniform' && Array.isArray(inner) && inner.length === 2) {
    checkMs(`${place}.uniform[0]`, inner[0]);
    checkMs(`${place}.uniform[1]`, inner[1], { min: inner[0] as number });
    return value as Latency;
  }
  if (more.length === 0 && kind === 'lognormal') {
    checkMs(`${place}.lognormal.medianMs`, inner['medianMs']);
    if (typeof inner['sigma'] === 'number' && inner['sigma'] >= 0) return value as Latency;
    throw new OptionError(`${place}.lognormal.sigma`, inner['sigma'], 'a number, 0 or more');
  }
  if (more.length === 0 && kind === 'spike') {
    checkRatio(`${place}.spike.ratio`, inner['ratio']);
    checkMs(`${place}.spike.baseMs`, inner['baseMs']);
    checkMs(`${place}.spike.peakMs`, inner['peakMs']);
    return value as Latency;
  }
  const expected =
    'milliseconds, or one of { uniform: [min, max] }, { lognormal: { medianMs, sigma } }, { spike: { ratio, baseMs, peakMs } }';
  throw new OptionError(place, value, expected);
}

function checkCode(place: string, value: unknown): number {
  if (Number.isSafeInteger(value)) return value as number;
  throw new OptionError(place, value, 'a whole number');
}

function checkString(place: string, value: unknown): string {
  if (typeof value === 'string') return value;
  throw new OptionError(place, value, 'a string');
}
