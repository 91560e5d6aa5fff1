/**
 * Arguments with placeholders, filled in for each call: `{{nonce}}` is a text no other call has, `{{turn}}` the call's
 * number, `{{payload:1024}}` so many bytes of text, `{{random:1:10}}` a whole number in that range. A string that is one
 * `{{turn}}` or `{{random:…}}` and nothing else becomes a number.
 */
export function fillTemplate(value: unknown, turn: number, random: () => number = Math.random): unknown {
  if (typeof value === 'string') return fillText(value, turn, random);
  if (Array.isArray(value)) return value.map((each) => fillTemplate(each, turn, random));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, fillTemplate(each, turn, random)]));
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

function fillText(text: string, turn: number, random: () => number): unknown {
  if (!text.includes('{{')) return text;
  const whole = new RegExp(`^${PLACEHOLDER.source}$`).exec(text)?.[1];
  if (whole !== undefined && /^(turn|random)/.test(whole)) return Number(replacement(whole, turn, random));
  return text.replace(PLACEHOLDER, (_, name: string) => replacement(name, turn, random));
}

function replacement(name: string, turn: number, random: () => number): string {
  const [kind, a = '0', b = '0'] = name.split(':');
  if (kind === 'nonce') return nonceOf(turn);
  if (kind === 'turn') return String(turn);
  if (kind === 'payload') return payload(Number(a));
  return String(Number(a) + Math.floor(random() * (Number(b) - Number(a) + 1)));
}

const payloads = new Map<number, string>();

function payload(bytes: number): string {
  let text = payloads.get(bytes);
  if (text === undefined) {
    text = 'x'.repeat(bytes);
    // A scenario has a few sizes; a table that outgrows them begins anew.
    if (payloads.size >= 16) payloads.clear();
    payloads.set(bytes, text);
  }
  return text;
}
