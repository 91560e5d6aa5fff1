import { ProtocolError } from '../../../core/errors.js';
import { utf8Text } from '../../../core/text/utf8Text.js';
import { inTurnOrNow } from '../../../core/time/turns.js';
import { repeatsName, rewritten } from '../codec/members.js';
import { checkReadable, endOfString, MAX_ANSWER_COST, MAX_TOLD_COST, ParsingCost } from '../codec/parsingCost.js';
import { skipSpace } from '../codec/skipJson.js';

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** A shorter answer is parsed at one go. */
const SHORT_BYTES = 128 * 1_024;
/** What a list may say beside its items, where those are looked at one by one. */
const MAX_OUTSIDE_BYTES = 256 * 1_024;
/** Items of an array that are parsed at one go: so many bytes, and the one that goes beyond them. */
const GROUP_BYTES = 32 * 1_024;
/** So much is looked through for where items end, at one go. */
const STEP_BYTES = 128 * 1_024;

/**
 * What an answer says that is known to be JSON: a long one is parsed in turns of the event loop, the items of the arrays in its object a few at a time. What
 * is no answer as bytes stays as it is.
 * @throws MessageTooLargeError; ProtocolError when it has too many values, or one item alone has
 */
export async function parsedInTurns(server: string, answer: unknown): Promise<unknown> {
  if (!(answer instanceof Uint8Array)) return answer;
  const bytes = Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength);
  checkReadable(server, bytes);
  if (bytes.length < SHORT_BYTES) return JSON.parse(utf8Text(bytes));
  const parsing = new Parsing(server, bytes);
  while (await inTurnOrNow(() => parsing.step()));
  return inTurnOrNow(() => parsing.rest());
}

/** A list that is an answer, or part of one, with each of its items as it was written. */
export interface WrittenList {
  readonly answer: Readonly<Record<string, unknown>>;
  readonly items: readonly unknown[];
  readonly texts: readonly Buffer[];
  /** The answer without the items. */
  readonly outside: Buffer;
}

/** The text of a list with these items in the place of its own; where a member of the rest comes twice, the rest as it was parsed. */
export function relisted({ answer, outside }: WrittenList, name: string, items: readonly string[]): Buffer {
  const rest = outside.toString();
  const text = repeatsName(rest) ? JSON.stringify(answer) : rest;
  return Buffer.from(rewritten(text, { [name]: `[${items.join(',')}]` }));
}

/** The same for an answer whose array of that name is to be looked at item by item; undefined where it has none. */
export async function listInTurns(server: string, answer: Uint8Array, name: string): Promise<WrittenList | undefined> {
  const all = Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength);
  checkReadable(server, all);
  const parsing = new Parsing(server, all.subarray(skipSpace(all, 0)), name);
  while (await inTurnOrNow(() => parsing.step()));
  return inTurnOrNow(() => parsing.list());
}

class Parsing {
  readonly #server: string;
  readonly #bytes: Buffer;
  /** The one array whose items are parsed by themselves, and kept as they were written; undefined for each that is long. */
  readonly #listName: string | undefined;
  #texts: Buffer[] = [];
  /** Where items end that are not parsed yet. */
  #commas: number[] = [];
  readonly #cost = new ParsingCost();
  #spent = 0;
  /** All but the items of long arrays. */
  readonly #outside: Buffer[] = [];
  /** Up to here all is parsed, or stands outside. */
  #done = 0;
  #at = 0;
  #depth = 0;
  /** Where the string stands that came last in the answer's object: before an array, the name of its member. */
  #name: readonly [number, number] = [0, 0];
  /** Behind the bracket of an array in the answer's object, while one is open; else 0. */
  #array = 0;
  /** Its items so far, once it is long. */
  #items: unknown[] | undefined;
  /** By the text of their names. */
  readonly #long = new Map<string, unknown[]>();

  constructor(server: string, bytes: Buffer, listName?: string) {
    this.#server = server;
    this.#bytes = bytes;
    this.#listName = listName;
  }

  /** Goes on to the end of a few items, or of what may be looked through at one go; false at the end of the answer. */
  step(): boolean {
    const bytes = this.#bytes;
    const end = Math.min(bytes.length, this.#at + STEP_BYTES);
    while (this.#at < end) {
      const at = this.#at++;
      const byte = bytes[at];
      if (byte === QUOTE) {
        this.#at = endOfString(bytes, at) + 1;
        if (this.#depth === 1) this.#named(at, this.#at);
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        if (++this.#depth === 2 && byte === OPEN_BRACKET && this.#isLookedInto()) this.#array = at + 1;
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        if (this.#depth-- === 2) this.#arrayEnds(at);
      } else if (byte === COMMA && this.#depth === 2 && this.#array > 0) {
        if (this.#listName !== undefined) this.#commas.push(at);
        if (at - Math.max(this.#done, this.#array) < GROUP_BYTES) continue;
        this.#take(at);
        this.#done = at + 1;
        return true;
      }
    }
    return this.#at < bytes.length;
  }

  /** The answer, once all of it was gone through. */
  rest(): unknown {
    const answer = this.#parsed(this.#outsideText()) as Record<string, unknown>;
    for (const [name, items] of this.#long) answer[name] = items;
    return answer;
  }

  list(): WrittenList | undefined {
    const outside = this.#outsideText();
    const [items] = this.#long.values();
    if (items === undefined) return undefined;
    if (outside.length > MAX_OUTSIDE_BYTES)
      throw new ProtocolError(this.#server, `its list says more beside its items than ${MAX_OUTSIDE_BYTES} bytes`);
    return { answer: this.#parsed(outside) as Record<string, unknown>, items, texts: this.#texts, outside };
  }

  #outsideText(): Buffer {
    this.#outside.push(this.#bytes.subarray(this.#done));
    return Buffer.concat(this.#outside);
  }

  /** Whether the items of the array that begins are parsed by themselves. */
  #isLookedInto(): boolean {
    if (this.#bytes[0] !== OPEN_BRACE) return false;
    return this.#listName === undefined || this.#nameText() === this.#listName;
  }

  #named(start: number, end: number): void {
    this.#name = [start, end];
    // Of a name that comes twice the last holds, as for any parser.
    if (this.#long.size === 0 || this.#bytes[skipSpace(this.#bytes, end)] !== COLON) return;
    if (this.#long.delete(this.#nameText())) this.#texts = [];
  }

  #nameText(): string {
    return JSON.parse(utf8Text(this.#bytes.subarray(...this.#name))) as string;
  }

  #arrayEnds(at: number): void {
    if (this.#items !== undefined || (this.#listName !== undefined && this.#array > 0)) {
      this.#take(at);
      this.#done = at;
      this.#items = undefined;
    }
    this.#array = 0;
  }

  /** The items up to there. */
  #take(end: number): void {
    const from = Math.max(this.#done, this.#array);
    if (this.#items === undefined) {
      this.#outside.push(this.#bytes.subarray(this.#done, this.#array));
      this.#items = [];
      this.#long.set(this.#nameText(), this.#items);
    }
    const items = this.#parsed(Buffer.concat([BEGIN, this.#bytes.subarray(from, end), END])) as unknown[];
    for (const item of items) this.#items.push(item);
    if (this.#listName === undefined) return;
    let start = from;
    for (const comma of this.#commas.splice(0)) {
      if (comma === end) continue;
      this.#texts.push(this.#bytes.subarray(start, comma));
      start = comma + 1;
    }
    if (items.length > 0) this.#texts.push(this.#bytes.subarray(start, end));
  }

  #parsed(part: Buffer): unknown {
    const cost = this.#cost.of(part, MAX_TOLD_COST);
    this.#spent += cost;
    if (cost > MAX_TOLD_COST || this.#spent > MAX_ANSWER_COST)
      throw new ProtocolError(this.#server, 'its answer has too many values to be read');
    return JSON.parse(utf8Text(part));
  }
}

const BEGIN = Buffer.from('[');
const END = Buffer.from(']');
