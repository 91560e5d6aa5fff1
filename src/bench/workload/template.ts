import { OptionError } from '../../core/errors.js';

/** Bytes of `{{payload:…}}` in the arguments of one call. */
const MAX_PAYLOAD_BYTES = 64 * 1_024 * 1_024;

/** Gives a value with its placeholders filled in for one call. */
export type Template = (turn: number) => unknown;

/**
 * Arguments with placeholders, to be filled in for each call: `{{nonce}}` is a text no other call has, `{{turn}}` the call's
 * number, `{{payload:1024}}` so many bytes of text, `{{random:1:10}}` a whole number in that range. A string that is one
 * `{{turn}}` or `{{random:…}}` and nothing else becomes a number. It is read once: filling in is on the way of every call.
 * @throws OptionError for payloads that are too large, ranges that are none, and nesting without end
 */
export function compileTemplate(value: unknown, random: () => number = Math.random): Template {
  try {
    checkPlaceholders(JSON.stringify(value) ?? '');
    return compile(value, random);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new OptionError('args', value, 'arguments that are not nested so deep', error);
  }
}

function compile(value: unknown, random: () => number): Template {
  if (typeof value === 'string') return compileText(value, random);
  if (Array.isArray(value)) {
    const items = value.map((each) => compile(each, random));
    return (turn) => items.map((fill) => fill(turn));
  }
  if (typeof value !== 'object' || value === null) return () => value;
  const fields = Object.entries(value).map(([key, each]) => [key, compile(each, random)] as const);
  return (turn) => Object.fromEntries(fields.map(([key, fill]) => [key, fill(turn)]));
}

const PLACEHOLDER = /\{\{(nonce|turn|payload:\d+|random:-?\d+:-?\d+)\}\}/g;

/** A text of fixed width, so that no nonce is part of another. */
export const nonceOf = (turn: number): string => `nonce-${turn.toString(36).padStart(9, '0')}-`;

export const hasNonce = (value: unknown): boolean => JSON.stringify(value)?.includes('{{nonce}}') === true;

/** The first placeholder that is none of ours, for a clear error. */
export function unknownPlaceholder(value: unknown): string | undefined {
  const text = (JSON.stringify(value) ?? '').replace(PLACEHOLDER, '');
  return /\{\{[^{}]*\}\}/.exec(text)?.[0];
}

/** What one call is sent may be as large as `--payload` is, and numbers must be exact. @throws OptionError */
function checkPlaceholders(text: string): void {
  let bytes = 0;
  for (const [whole, name = ''] of text.matchAll(PLACEHOLDER)) {
    const [kind, a = '0', b = '0'] = name.split(':');
    if (kind === 'payload') bytes += Number(a);
    if (bytes > MAX_PAYLOAD_BYTES) throw new OptionError('args', whole, 'payloads of 64 MiB together at most');
    const exact = Number.isSafeInteger(Number(a)) && Number.isSafeInteger(Number(b)) && Number(a) <= Number(b);
    if (kind === 'random' && !exact) throw new OptionError('args', whole, 'two whole numbers, the smaller one first');
  }
}

function compileText(text: string, random: () => number): Template {
  const parts = text.split(PLACEHOLDER).map((part, i): string | Template => {
    // `split` puts what the pattern caught at the odd places.
    return i % 2 === 0 ? part : compilePlaceholder(part, random);
  });
  const [before, fill, after] = parts;
  if (fill === undefined) return () => text;
  if (parts.length === 3 && before === '' && after === '' && /^\{\{(turn|random)/.test(text)) return fill as Template;
  return (turn) => {
    let filled = '';
    for (const part of parts) filled += typeof part === 'string' ? part : part(turn);
    return filled;
  };
}

function compilePlaceholder(name: string, random: () => number): Template {
  const [kind, a = '0', b = '0'] = name.split(':');
  if (kind === 'nonce') return nonceOf;
  if (kind === 'turn') return (turn) => turn;
  if (kind === 'payload') {
    const text = 'x'.repeat(Number(a));
    return () => text;
  }
  const [min, max] = [Number(a), Number(b)];
  return () => min + Math.floor(random() * (max - min + 1));
}
