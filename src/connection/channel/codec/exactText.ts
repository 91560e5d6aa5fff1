import { membersOf, memberText, withMembers } from './members.js';

type Part = 'params' | 'result' | 'error';

interface Origin {
  readonly text: string;
  /** Where the value stands in it; undefined where it is all of it. */
  readonly part: Part | undefined;
}

const origins = new WeakMap<object, Origin>();

/**
 * Keeps what a value looked like in its message, for as long as the value is there: passed on unchanged, numbers that JavaScript
 * cannot hold, the order of members and escapes survive. A value that stands in its place is written anew.
 */
export function keepText(value: unknown, text: string, part?: Part): void {
  if (typeof value === 'object' && value !== null) origins.set(value, { text, part });
}

/** Keeps the params of a message that asks or tells something. */
export function keepParams(params: unknown, text: string | Uint8Array): void {
  keepText(params, typeof text === 'string' ? text : Buffer.from(text).toString(), 'params');
}

/** A copy that says the same. */
export function shareText<T extends object>(from: object, copy: T): T {
  const origin = origins.get(from);
  if (origin !== undefined) origins.set(copy, origin);
  return copy;
}

/** The text of a value that was kept; undefined where it is to be written anew, as where a name comes twice. */
export function textOf(value: unknown): string | undefined {
  const origin = typeof value === 'object' && value !== null ? origins.get(value) : undefined;
  if (origin?.part === undefined) return origin?.text;
  const members = membersOf(origin.text);
  const text = members === undefined ? undefined : memberText(origin.text, members, origin.part);
  return text === undefined || membersOf(text) === undefined ? undefined : text;
}

/** The text of an object that was kept, with `values` in it as by `withMembers`; undefined where it is to be written anew. */
export function textWith(value: object, values: Readonly<Record<string, string>>): string | undefined {
  const origin = origins.get(value);
  if (origin === undefined) return undefined;
  const { text, part } = origin;
  if (part === undefined) return withMembers(text, values);
  const members = membersOf(text);
  const member = members?.find(({ key }) => key === part);
  return member === undefined ? undefined : withMembers(text, values, member.valueStart);
}

/** The same with other values, which its kept text has not. One that was kept is changed itself: but for its reader no one has it. */
export function changed<T extends object>(value: T, values: Partial<T>): T {
  return origins.has(value) ? Object.assign(value, values) : { ...value, ...values };
}

/** A value as JSON text: as it came, where it was kept. */
export const exactText = (value: unknown): string | undefined => textOf(value) ?? JSON.stringify(value);
