import { skipString } from '../connection/channel/codec/members.js';

/** A value as text that is the same for equal values, whatever the order of their members. */
export function canonical(value: unknown): string {
  return JSON.stringify(sorted(value)) ?? 'undefined';
}

/** An object becomes the array of its members, in the order of their names; what an array begins with says what it stands for. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return ['[', ...value.map(sorted)];
  if (typeof value !== 'object' || value === null) return value;
  if (!isPlain(value)) return sorted(JSON.parse(JSON.stringify(value) ?? 'null'));
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return ['{', ...members.map(([key, each]) => [key, sorted(each)])];
}

/** Whether JSON makes of an object what its members are: of a date it does not. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return (
    (prototype === Object.prototype || prototype === null) &&
    typeof (value as { toJSON?: unknown }).toJSON !== 'function'
  );
}

/** Whether numbers in it say all that was written: others beyond 2^53 are read as the same. */
export function isExact(value: unknown): boolean {
  if (typeof value === 'number')
    return Number.isSafeInteger(value) || (Number.isFinite(value) && !Number.isInteger(value));
  if (typeof value !== 'object' || value === null) return true;
  return Object.values(value).every(isExact);
}

const QUOTE = 0x22;
const COLON = 0x3a;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const NUMBER = /-?\d[-+.\deE]*/y;

/**
 * Whether a value says all that `text` does, the JSON it was parsed from. It does not say which of two texts a number had (`1.0` and
 * `1`, two that a double cannot tell apart), nor a member whose name comes again.
 */
export function saysAll(value: unknown, text: string): boolean {
  let members = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = skipString(text, at) - 1;
    else if (code === COLON) members++;
    else if (code === MINUS || (code >= ZERO && code <= NINE)) {
      NUMBER.lastIndex = at;
      const number = NUMBER.exec(text)?.[0] ?? '';
      if (String(Number(number)) !== number) return false;
      at += number.length - 1;
    }
  }
  return members === membersIn(value);
}

function membersIn(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const values: unknown[] = Object.values(value);
  return values.reduce<number>((sum, each) => sum + membersIn(each), Array.isArray(value) ? 0 : values.length);
}
