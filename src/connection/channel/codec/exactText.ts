import { utf8Text } from '../../../core/text/utf8Text.js';
import { objectIn, repeatsName, skipString, withMembers, withTheseMembers } from './members.js';
import { memoryOf } from './memoryOf.js';

type Part = 'params' | 'result' | 'error';

interface Origin {
  readonly text: string;
  /** Where the value stands in it; undefined where it is all of it. */
  readonly part: Part | undefined;
}

const origins = new WeakMap<object, Origin>();

/** What stands beside a value in its message may be so many characters where the value waits for someone. */
const MAX_BESIDE_CHARS = 4_096;

/**
 * Keeps what a value looked like in its message, for as long as the value is there: passed on unchanged, numbers that JavaScript
 * cannot hold, the order of members and escapes survive. A value that stands in its place is written anew.
 */
export function keepText(value: unknown, text: string, part?: Part): void {
  if (typeof value === 'object' && value !== null) origins.set(value, { text, part });
}

/** Keeps the params of a message that asks or tells something. */
export function keepParams(params: unknown, text: string | Uint8Array): void {
  keepText(params, typeof text === 'string' ? text : utf8Text(Buffer.from(text)), 'params');
}

/** A copy that says the same. */
export function shareText<T extends object>(from: object, copy: T): T {
  const origin = origins.get(from);
  if (origin !== undefined) origins.set(copy, origin);
  return copy;
}

/** The same value, which is written anew where its message names a member twice: something here decides by what it says. */
export function lookedAt<T>(value: T): T {
  const origin = typeof value === 'object' && value !== null ? origins.get(value) : undefined;
  if (origin !== undefined && repeatsName(origin.text)) origins.delete(value as object);
  return value;
}

/** The text of a value that was kept; undefined where it is to be written anew, as where a name comes twice. What was found by a longer walk is kept in its place. */
export function textOf(value: unknown): string | undefined {
  const origin = typeof value === 'object' && value !== null ? origins.get(value) : undefined;
  if (origin?.part === undefined) return origin?.text;
  const { text } = origin;
  const found = objectIn(text, origin.part);
  const own = found && text.slice(found.start, found.end);
  if (text.length > MAX_BESIDE_CHARS) {
    if (own === undefined) origins.delete(value as object);
    else keepText(value, cutOut(own, text));
  }
  return own;
}

/**
 * What a value takes in memory that waits for someone, in bytes, about, or something beyond `max`, with its text: it may be long where the value
 * is small. From here on what stands beside it in its message is not kept.
 */
export function memoryWithText(value: unknown, max = Number.POSITIVE_INFINITY): number {
  const bytes = 2 * charsOf(value);
  return bytes > max ? bytes : Math.max(memoryOf(value, max), bytes);
}

function charsOf(value: unknown): number {
  const origin = typeof value === 'object' && value !== null ? origins.get(value) : undefined;
  if (origin === undefined) return 0;
  const { text, part } = origin;
  if (part === undefined || text.length <= MAX_BESIDE_CHARS) return text.length;
  return textOf(value)?.length ?? 0;
}

/** A part of a text, which keeps not much more in memory than itself: a string that was cut out of another has all of that one. */
export function cutOut(part: string, text: string): string {
  return text.length - part.length > MAX_BESIDE_CHARS ? Buffer.from(part).toString() : part;
}

/** The text of an object that was kept, with `values` in it as by `withMembers`; undefined where it is to be written anew. */
export function textWith(value: object, values: Readonly<Record<string, string>>): string | undefined {
  const origin = origins.get(value);
  if (origin === undefined) return undefined;
  const { text, part } = origin;
  if (part === undefined) return withMembers(text, values);
  const own = objectIn(text, part);
  return own && withTheseMembers(text, own.members, values);
}

/** The same with other values, which its kept text has not. One that was kept is changed itself: but for its reader no one has it. */
export function changed<T extends object>(value: T, values: Partial<T>): T {
  return origins.has(value) ? Object.assign(value, values) : { ...value, ...values };
}

/** A value as JSON text: as it came, where it was kept. */
export const exactText = (value: unknown): string | undefined => textOf(value) ?? JSON.stringify(value);

const QUOTE = 0x22;
const COLON = 0x3a;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const NUMBER = /-?\d[-+.\deE]*/y;

/**
 * Whether a value says all that `text` does, the JSON it was parsed from. It does not say which of two texts a number had (`1.0` and
 * `1`, two that a double cannot tell apart), nor a member whose name comes again. `alike`: whether two texts of a number say the same.
 */
export function saysAll(value: unknown, text: string, alike = (a: string, b: string): boolean => a === b): boolean {
  let members = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = skipString(text, at) - 1;
    else if (code === COLON) members++;
    else if (code === MINUS || (code >= ZERO && code <= NINE)) {
      NUMBER.lastIndex = at;
      const number = NUMBER.exec(text)?.[0] ?? '';
      if (!alike(String(Number(number)), number)) return false;
      at += number.length - 1;
    }
  }
  return members === membersIn(value);
}

/** The same JSON with each of its numbers replaced by the text that `write` makes of it. */
export function withNumbers(text: string, write: (number: string) => string): string {
  const parts: string[] = [];
  let kept = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = skipString(text, at) - 1;
    else if (code === MINUS || (code >= ZERO && code <= NINE)) {
      NUMBER.lastIndex = at;
      const number = NUMBER.exec(text)?.[0] ?? '';
      parts.push(text.slice(kept, at), write(number));
      at += number.length - 1;
      kept = at + 1;
    }
  }
  return parts.join('') + text.slice(kept);
}

function membersIn(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const values: unknown[] = Object.values(value);
  return values.reduce<number>((sum, each) => sum + membersIn(each), Array.isArray(value) ? 0 : values.length);
}

/** Whether two texts are of one number, to the last digit: `1`, `1.0` and `10e-1` are. */
export const sameNumber = (a: string, b: string): boolean => a === b || decimalOf(a) === decimalOf(b);

function decimalOf(number: string): string {
  const [mantissa = '', exponent = '0'] = number.toLowerCase().split('e');
  const [whole = '', fraction = ''] = mantissa.replace('-', '').split('.');
  const digits = whole + fraction;
  let end = digits.length;
  while (end > 0 && digits[end - 1] === '0') end--;
  let start = 0;
  while (start < end && digits[start] === '0') start++;
  if (start === end) return '0';
  const tens = Number(exponent) - fraction.length + digits.length - end;
  return `${mantissa.startsWith('-') ? '-' : ''}${digits.slice(start, end)}e${tens}`;
}
