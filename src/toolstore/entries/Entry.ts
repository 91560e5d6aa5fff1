import { messageOf, OptionError } from '../../core/errors.js';
import { inSlices } from '../../core/time/inSlices.js';
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

/** What is kept of a value: its text, or what that says, frozen; and how many bytes the text has. */
export type Content = ({ readonly text: string } | { readonly value: unknown }) & { readonly bytes: number };

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
    content: Content,
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

  /** The value as JSON, in pieces: of a list its items. */
  texts(): Iterator<string, undefined> {
    return (this.#text === undefined ? jsonTexts(this.#value) : [this.#text])[Symbol.iterator]();
  }

  /** The same value, no longer believed. */
  asOutdated(order: number): Entry {
    const life = { nowMs: this.#bornMs, ageMs: 0, order };
    const content = this.#text === undefined ? { value: this.#value } : { text: this.#text };
    return new Entry(this.key, { ...this.head, outdated: true }, { ...content, bytes: this.bytes }, life);
  }

  ageMs(nowMs: number): number {
    return nowMs - this.#bornMs;
  }
}

/** Between the items of a list. No line breaks stand elsewhere in JSON that is written here: so it is read item by item, too. */
export const ITEM_END = ',\n';

function* jsonTexts(value: unknown): Generator<string, undefined> {
  if (!Array.isArray(value) || 'toJSON' in value) {
    yield JSON.stringify(value);
    return;
  }
  yield '[';
  for (const [at, item] of value.entries()) yield `${at === 0 ? '' : ITEM_END}${JSON.stringify(item) ?? 'null'}`;
  yield ']';
}

/** A list as it is kept, made item by item in turns of the event loop. @throws OptionError for what JSON cannot hold. */
export async function listContent(option: string, items: readonly unknown[]): Promise<Content> {
  const value: unknown[] = [];
  let bytes = '[]'.length + Math.max(0, items.length - 1) * ITEM_END.length;
  await inSlices(() => {
    if (value.length === items.length) return true;
    const item = toJson(option, items[value.length]);
    bytes += item.bytes;
    value.push(deepFreeze(JSON.parse(item.text)));
    return false;
  });
  return { value: Object.freeze(value), bytes };
}

/** A value as the JSON it is stored as. @throws OptionError for what JSON cannot hold. */
export function toJson(option: string, value: unknown): Content & { readonly text: string } {
  let text: string | undefined;
  let cause: unknown;
  try {
    // What JSON has nothing for is one piece.
    const texts = [...jsonTexts(value)] as (string | undefined)[];
    text = texts.length === 1 ? texts[0] : texts.join('');
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
