import { OptionError } from '../../core/errors.js';
import { checkCount, checkFunction, checkString, withDefaults } from '../../core/options.js';
import { EVENT_FIELDS, type HistoryEvent, type UntimedEvent } from './HistoryEvent.js';

export interface HistoryOptions {
  /** Most events kept, from 1; later ones are counted and dropped, and the history acquits no more. @defaultValue 1000000 */
  readonly maxEvents?: number;
  /** What the names of calls begin with: with several histories of one server it tells them apart. @defaultValue 'c' */
  readonly prefix?: string;
  /** The time in epoch ms, with a fraction. @defaultValue the machine's own */
  readonly nowMs?: () => number;
  /** Told of each event as it is kept, for writing it down at once. @defaultValue none */
  readonly onEvent?: (event: HistoryEvent) => void;
}

export const HISTORY_DEFAULTS = Object.freeze({ maxEvents: 1_000_000, prefix: 'c' });

const epochNow = (): number => performance.timeOrigin + performance.now();

/**
 * What happened, in the order it was seen: filled by `record(...)`, fake servers and fault plans, judged by `check`.
 * `String(history)` is JSON lines, which `History.parse` reads.
 */
export class History {
  readonly #events: HistoryEvent[] = [];
  readonly #maxEvents: number;
  readonly #prefix: string;
  readonly #nowMs: () => number;
  readonly #onEvent: ((event: HistoryEvent) => void) | undefined;
  #calls = 0;
  #dropped = 0;

  /** @throws OptionError */
  constructor(options: HistoryOptions = {}) {
    const all = withDefaults('History', options, HISTORY_DEFAULTS, { nowMs: true, onEvent: true });
    this.#maxEvents = checkCount('maxEvents', all.maxEvents, { min: 1 });
    this.#prefix = checkString('prefix', all.prefix);
    this.#nowMs = checkFunction('nowMs', all.nowMs ?? epochNow);
    this.#onEvent = all.onEvent;
  }

  /** Reads JSON lines, of one or several processes: events are put in the order of their times. @throws OptionError naming the line. */
  static parse(text: string): History {
    const history = new History({ maxEvents: Number.MAX_SAFE_INTEGER });
    let sorted = true;
    let beforeMs = Number.NEGATIVE_INFINITY;
    text.split('\n').forEach((line, index) => {
      if (line.trim() === '') return;
      const event = parseEvent(line, index + 1);
      sorted &&= event.atMs >= beforeMs;
      beforeMs = event.atMs;
      history.#events.push(event);
    });
    if (!sorted) history.#events.sort((a, b) => a.atMs - b.atMs);
    return history;
  }

  get events(): readonly HistoryEvent[] {
    return this.#events;
  }

  /** Events that were not kept, beyond `maxEvents`. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Epoch ms now, by this history's clock. */
  now(): number {
    return this.#nowMs();
  }

  /** A name that no other call of this history has. */
  nextCall(): string {
    return `${this.#prefix}${++this.#calls}`;
  }

  /** Keeps an event as of now. */
  add(event: UntimedEvent): void {
    this.push({ ...event, atMs: this.#nowMs() } as HistoryEvent);
  }

  /** Keeps an event that has its time: what another process saw. */
  push(event: HistoryEvent): void {
    if (this.#events.length >= this.#maxEvents) {
      this.#dropped++;
      return;
    }
    this.#events.push(event);
    this.#onEvent?.(event);
  }

  /** Takes other events in, by their times: JSON lines of another process, or a fake server's `events`. @throws OptionError naming the line. */
  merge(events: string | readonly HistoryEvent[]): void {
    for (const event of typeof events === 'string' ? History.parse(events).events : events) this.push(event);
    this.#events.sort((a, b) => a.atMs - b.atMs);
  }

  /** Nothing comes after: from here on a call that has not settled is lost. */
  end(): void {
    this.add({ type: 'end' });
  }

  /** JSON lines. */
  toString(): string {
    return this.#events.map((event) => `${JSON.stringify(event)}\n`).join('');
  }
}

function parseEvent(line: string, number: number): HistoryEvent {
  const bad = (expected: string, cause?: unknown): OptionError =>
    new OptionError(`history line ${number}`, line, expected, cause);
  let event: Record<string, unknown>;
  try {
    event = JSON.parse(line) as Record<string, unknown>;
  } catch (error) {
    throw bad('one JSON object', error);
  }
  if (typeof event !== 'object' || event === null || Array.isArray(event)) throw bad('one JSON object');
  const { type, atMs } = event;
  if (typeof type !== 'string' || !Object.hasOwn(EVENT_FIELDS, type)) {
    throw bad(`a type of ${Object.keys(EVENT_FIELDS).join(', ')}`);
  }
  if (typeof atMs !== 'number') throw bad('atMs: a number');
  for (const [field, kind] of Object.entries(EVENT_FIELDS[type as HistoryEvent['type']])) {
    if (kind !== kindOf(event[field])) throw bad(`${field}: ${kind}`);
  }
  return event as unknown as HistoryEvent;
}

function kindOf(value: unknown): string {
  if (typeof value !== 'object') return `a ${typeof value}`;
  return value === null || Array.isArray(value) ? 'no object' : 'an object';
}
