/** What a message says of a value that throws at each look, as some proxies do. */
const UNSHOWABLE = 'something that cannot be looked at';

/** A value as an error message shows it: short, on one line, safe for anything. */
export function show(value: unknown): string {
  try {
    return shown(value);
  } catch {
    return UNSHOWABLE;
  }
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') {
    const name: unknown = value.name;
    return `function ${typeof name === 'string' && name !== '' ? name : '(anonymous)'}`;
  }
  if (typeof value !== 'object' || value === null) return String(value);
  return Array.isArray(value) ? `an array of ${value.length}` : `an object`;
}

const MAX_PRINTED_DEPTH = 3;
const MAX_PRINTED_ITEMS = 50;

/** A copy of `value` that `JSON.stringify` takes whatever it was: bounded, without cycles, getters or big integers. */
export function printable(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) {
    return ['bigint', 'function', 'symbol'].includes(typeof value) ? show(value) : value;
  }
  try {
    if (value instanceof Error) {
      const { code } = value as { code?: unknown };
      return {
        name: value.name,
        message: messageOf(value),
        ...(code === undefined ? {} : { code: printable(code, 3) }),
      };
    }
    if (depth >= MAX_PRINTED_DEPTH) return show(value);
    if (Array.isArray(value)) return value.slice(0, MAX_PRINTED_ITEMS).map((each) => printable(each, depth + 1));
    return Object.fromEntries(
      Object.entries(value)
        .slice(0, MAX_PRINTED_ITEMS)
        .map(([key, each]) => [key, printable(each, depth + 1)]),
    );
  } catch {
    return show(value);
  }
}

/** The message of anything thrown; safe for anything. */
export function messageOf(error: unknown): string {
  try {
    if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
    if (!(error instanceof Error)) return shown(error);
    const message: unknown = error.message;
    return typeof message === 'string' ? message : shown(message);
  } catch {
    return UNSHOWABLE;
  }
}

/** Control characters but for line feed and tab, and what turns the direction of text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what it looks for.
const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/**
 * Text that cannot steer a terminal, whatever its source: what would is spelled out, as `\u001b`. In JSON it stays the same JSON.
 */
export const visible = (text: string): string =>
  text.replace(INVISIBLE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
