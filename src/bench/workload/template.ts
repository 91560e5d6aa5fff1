/** Gives a value with its placeholders filled in for one call. */
export type Template = (turn: number) => unknown;

/**
 * Arguments with placeholders, to be filled in for each call: `{{nonce}}` is a text no other call has, `{{turn}}` the call's
 * number, `{{payload:1024}}` so many bytes of text, `{{random:1:10}}` a whole number in that range. A string that is one
 * `{{turn}}` or `{{random:…}}` and nothing else becomes a number. It is read once: filling in is on the way of every call.
 */
export function compileTemplate(value: unknown, random: () => number = Math.random): Template {
  if (typeof value === 'string') return compileText(value, random);
  if (Array.isArray(value)) {
    const items = value.map((each) => compileTemplate(each, random));
    return (turn) => items.map((fill) => fill(turn));
  }
  if (typeof value !== 'object' || value === null) return () => value;
  const fields = Object.entries(value).map(([key, each]) => [key, compileTemplate(each, random)] as const);
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
