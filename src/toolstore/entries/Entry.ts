import { messageOf, OptionError } from '../../core/errors.js';
import type { Key } from '../keys.js';

/** What stands in a file's header. Durations may be `Infinity`; stamps are epoch ms. */
export interface EntryHead {
  /** The file's own name: a copy under another name is foreign. */
  readonly file: string;
  /** The server of a tool list; empty otherwise. */
  readonly server: string;
  readonly setAt: number;
  readonly ttlMs: number;
  readonly staleMs: number;
  /** True for a list that other scopes may see. */
  readonly shared: boolean;
  /** True for a list its server said is no longer right: served only when no newer one can be had. */
  readonly outdated: boolean;
}

/** What tells one written file from the next without reading it. */
export interface FileStamp {
  readonly identity: string;
  /** Taken so soon after the file's last change that a later one might carry the same stamp. */
  readonly racy: boolean;
}

/** One value in memory. Times of life are of the monotonic clock, so that a step of the wall clock does not change them. */
export class Entry {
  readonly key: Key;
  readonly head: EntryHead;
  readonly bytes: number;
  /** Counts the sets of this process; 0 for what was read from disk. */
  readonly order: number;
  readonly freshUntilMs: number;
  readonly deadAtMs: number;
  readonly #bornMs: number;
  /** When the file must be looked at again. `Infinity` while ours is not on disk. */
  recheckAtMs = Number.POSITIVE_INFINITY;
  stamp: FileStamp | undefined;
  /** Until when a stale value is served without another try to load it. */
  retryAtMs = 0;
  #text: string | undefined;
  #value: unknown;

  constructor(
    key: Key,
    head: EntryHead,
    content: { readonly text: string; readonly bytes: number } | { readonly value: unknown; readonly bytes: number },
    life: { readonly nowMs: number; readonly ageMs: number; readonly order: number },
  ) {
    this.key = key;
    this.head = head;
    this.bytes = content.bytes;
    this.order = life.order;
    this.#bornMs = life.nowMs - life.ageMs;
    this.freshUntilMs = head.outdated ? this.#bornMs : this.#bornMs + head.ttlMs;
    this.deadAtMs = this.#bornMs + head.ttlMs + head.staleMs;
    if ('text' in content) this.#text = content.text;
    else this.#value = content.value;
  }

  /** Frozen; parsed on first use. */
  get value(): unknown {
    if (this.#text !== undefined) {
      this.#value = deepFreeze(JSON.parse(this.#text));
      this.#text = undefined;
    }
    return this.#value;
  }

  /** The value as JSON. */
  get text(): string {
    return this.#text ?? JSON.stringify(this.#value);
  }

  /** The same value, no longer believed. */
  asOutdated(order: number): Entry {
    const life = { nowMs: this.#bornMs, ageMs: 0, order };
    return new Entry(this.key, { ...this.head, outdated: true }, { text: this.text, bytes: this.bytes }, life);
  }

  ageMs(nowMs: number): number {
    return nowMs - this.#bornMs;
  }
}

/** A value as the JSON it is stored as. @throws OptionError for what JSON cannot hold. */
export function toJson(option: string, value: unknown): { readonly text: string; readonly bytes: number } {
  let text: string | undefined;
  let cause: unknown;
  try {
    text = JSON.stringify(value) as string | undefined;
  } catch (error) {
    cause = error;
  }
  if (text === undefined) {
    const why = cause === undefined ? '' : ` (${messageOf(cause)})`;
    throw new OptionError(option, value, `a value that JSON can hold${why}`, cause);
  }
  return { text, bytes: Buffer.byteLength(text) };
}

/** Freezes JSON all the way down, with a stack of its own: depth is the sender's choice. Half the time of `Object.values`. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  const open: object[] = [value];
  for (let each = open.pop(); each !== undefined; each = open.pop()) {
    Object.freeze(each);
    if (Array.isArray(each)) {
      for (let i = 0; i < each.length; i++) if (typeof each[i] === 'object' && each[i] !== null) open.push(each[i]);
    } else {
      for (const name in each) {
        const inner = (each as Record<string, unknown>)[name];
        if (typeof inner === 'object' && inner !== null) open.push(inner);
      }
    }
  }
  return value;
}
