import { objectOf } from '../../protocol/objectOf.js';

/** A member of a JSON object, by where it stands in its text. */
export interface Member {
  readonly key: string;
  /** Of its key's opening quote. */
  readonly start: number;
  readonly valueStart: number;
  /** Behind its value. */
  readonly end: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** So many characters are looked at one by one before the next quote is searched for: escapes often stand close. */
const SHORT_CHARS = 64;
/** An object of more members is none of the protocol's own: to walk one takes long. */
export const MAX_MEMBERS = 10_000;
const FEW = 16;

/**
 * The members of the object that begins at `at` in a text that is known to be JSON; undefined when no object begins there, or
 * when it has more than 10,000, or a key comes twice: readers differ in which of the two they take, so that such a text must not be passed on as it is.
 */
export const membersOf = (text: string, at = 0): Member[] | undefined => objectAt(text, at)?.members;

/** The members of an object, and where it ends. */
interface ObjectText {
  readonly start: number;
  readonly members: Member[];
  /** Behind its closing brace. */
  readonly end: number;
  /** The object under the name that was asked for. */
  readonly inside: ObjectText | undefined;
}

/** The object that stands under that name in the object of a text, found in one walk through both; undefined where `membersOf` is of either. */
export const objectIn = (text: string, name: string): ObjectText | undefined => objectAt(text, 0, name)?.inside;

/** The object that begins at `at`, with that under `name`, by one walk; undefined where `membersOf` is of either. */
export function objectAt(text: string, at: number, name?: string): ObjectText | undefined {
  const begin = skipSpace(text, at);
  if (text[begin] !== '{') return undefined;
  const members: Member[] = [];
  let inside: ObjectText | undefined;
  // Few are looked through faster than a set of them is made.
  let keys: Set<string> | undefined;
  let from = skipSpace(text, begin + 1);
  while (text[from] !== '}') {
    const start = from;
    const keyEnd = skipString(text, start);
    const key = keyOf(text, start, keyEnd);
    if (keys === undefined && members.length === FEW) keys = new Set(members.map((each) => each.key));
    const twice = keys === undefined ? find(members, key) !== undefined : keys.size === keys.add(key).size;
    if (twice || members.length >= MAX_MEMBERS) return undefined;
    // Behind the key stands a colon.
    const valueStart = skipSpace(text, skipSpace(text, keyEnd) + 1);
    if (key === name) inside = objectAt(text, valueStart);
    if (key === name && inside === undefined) return undefined;
    const end = key === name && inside !== undefined ? inside.end : skipValue(text, valueStart);
    members.push({ key, start, valueStart, end });
    from = skipSpace(text, end);
    if (text[from] === ',') from = skipSpace(text, from + 1);
    else if (text[from] !== '}') return undefined;
  }
  return { start: begin, members, end: from + 1, inside };
}

/**
 * Whether any object in a text that is known to be JSON, however deep, has two members of one name: what was decided by what one
 * reader makes of it is not what another reads.
 */
export function repeatsName(text: string): boolean {
  /** Of all objects that are open, the names so far, one object behind the other. */
  const names: string[] = [];
  /** Where those of each begin; of an array -1. */
  const begins: number[] = [];
  const sets: (Set<string> | undefined)[] = [];
  let begin = -1;
  let isName = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      const end = skipString(text, at);
      if (isName) {
        const name = keyOf(text, at, end);
        const depth = begins.length;
        if (names.length - begin === FEW) sets[depth] = new Set(names.slice(begin));
        const set = names.length - begin < FEW ? undefined : sets[depth];
        if (set === undefined ? names.indexOf(name, begin) >= 0 : set.size === set.add(name).size) return true;
        names.push(name);
        isName = false;
      }
      at = end - 1;
    } else if (code === COMMA) isName = begin >= 0;
    else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      begins.push(begin);
      isName = code === OPEN_BRACE;
      begin = isName ? names.length : -1;
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      if (begin >= 0) names.length = begin;
      begin = begins.pop() ?? -1;
      isName = false;
    }
  }
  return false;
}

/**
 * The text of the object that begins at `at`, with `values` in place of what it has under those names, new ones behind, the rest as it
 * was; undefined where `membersOf` is. A value is JSON text; undefined takes the member out.
 */
export function withMembers(
  text: string,
  values: Readonly<Record<string, string | undefined>>,
  at = 0,
): string | undefined {
  const members = membersOf(text, at);
  return members && withTheseMembers(text, members, values);
}

/** The same of a text whose members are known. */
export function withTheseMembers(
  text: string,
  members: readonly Member[],
  values: Readonly<Record<string, string | undefined>>,
): string {
  let inside = '';
  const add = (member: string): void => {
    inside += inside === '' ? member : `,${member}`;
  };
  for (const { key, start, valueStart, end } of members) {
    if (!Object.hasOwn(values, key)) add(text.slice(start, end));
    else if (values[key] !== undefined) add(text.slice(start, valueStart) + values[key]);
  }
  for (const key of Object.keys(values)) {
    const value = values[key];
    if (value !== undefined && find(members, key) === undefined) add(`${JSON.stringify(key)}:${value}`);
  }
  return `{${inside}}`;
}

/** As `withMembers`, for any object: one that has no members there is written anew, by what JSON makes of it. */
export function rewritten(text: string, values: Readonly<Record<string, string | undefined>>): string {
  const kept = withMembers(text, values);
  if (kept !== undefined) return kept;
  const parts = Object.entries(objectOf(JSON.parse(text)))
    .filter(([key]) => !Object.hasOwn(values, key))
    .map(([key, value]) => [key, JSON.stringify(value)]);
  const all = [...parts, ...Object.entries(values)].filter(([, value]) => value !== undefined);
  return `{${all.map(([key, value]) => `${JSON.stringify(key)}:${value}`).join(',')}}`;
}

/** The text of one member's value; undefined when there is none of that name. */
export function memberText(text: string, members: readonly Member[], name: string): string | undefined {
  const member = find(members, name);
  return member === undefined ? undefined : text.slice(member.valueStart, member.end);
}

function find(members: readonly Member[], name: string): Member | undefined {
  for (const member of members) if (member.key === name) return member;
  return undefined;
}

export function skipSpace(text: string, from: number): number {
  let at = from;
  for (let code = text.charCodeAt(at); code <= 0x20; code = text.charCodeAt(at)) at++;
  return at;
}

/** Behind the string that begins at `from`. */
export function skipString(text: string, from: number): number {
  let at = from + 1;
  for (;;) {
    for (const near = Math.min(at + SHORT_CHARS, text.length); at < near; at++) {
      const code = text.charCodeAt(at);
      if (code === QUOTE) return at + 1;
      if (code === BACKSLASH) at++;
    }
    const quote = text.indexOf('"', at);
    if (quote < 0) return text.length;
    let first = quote;
    while (first > at && text.charCodeAt(first - 1) === BACKSLASH) first--;
    if ((quote - first) % 2 === 0) return quote + 1;
    at = quote + 1;
  }
}

/** Behind the value that begins at `from`. */
export function skipValue(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = skipString(text, at) - 1;
    else if (code === OPEN_BRACE || code === OPEN_BRACKET) depth++;
    else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      if (depth === 0) return at;
      depth--;
    } else if (depth === 0 && (code === COMMA || code <= SPACE)) return at;
    else continue;
    if (depth === 0) return at + 1;
  }
  return text.length;
}

/** A key's text without its quotes, with what backslashes stand for in it. */
export function keyOf(text: string, start: number, end: number): string {
  const plain = text.slice(start + 1, end - 1);
  return plain.includes('\\') ? (JSON.parse(text.slice(start, end)) as string) : plain;
}
