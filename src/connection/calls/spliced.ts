import { keepText, textOf } from '../channel/codec/exactText.js';
import { membersOf, memberText, withTheseMembers } from '../channel/codec/members.js';

type Members = Readonly<Record<string, unknown>>;

/**
 * `text`, which says `before`, so that it says `after`: members that are the same in both keep their text, and with it numbers that
 * JavaScript cannot hold. What differs and is no object is written anew.
 */
export function spliced(text: string, before: unknown, after: unknown): string {
  const whole = (): string => JSON.stringify(after) ?? 'null';
  if (before === after) return text;
  if (!isMembers(before) || !isMembers(after)) {
    const written = whole();
    // Long params are parsed anew at each look, so that equal ones need not be the same.
    return JSON.stringify(before) === written ? text : written;
  }
  const members = membersOf(text);
  if (members === undefined) return whole();
  const changes: Record<string, string | undefined> = {};
  const change = (key: string): void => {
    if (before[key] === after[key]) return;
    const known = memberText(text, members, key);
    changes[key] = known === undefined ? JSON.stringify(after[key]) : own(known, before[key], after[key]);
  };
  for (const key of Object.keys(before)) change(key);
  for (const key of Object.keys(after)) if (!Object.hasOwn(before, key)) change(key);
  return withTheseMembers(text, members, changes);
}

/** `after`, which keeps the text of what it shares with `before`. */
export function respliced<T extends object | undefined>(before: object | undefined, after: T): T {
  const text = before === after ? undefined : textOf(before);
  if (text !== undefined) keepText(after, spliced(text, before, after));
  return after;
}

const own = (text: string, before: unknown, after: unknown): string | undefined =>
  after === undefined ? undefined : spliced(text, before, after);

const isMembers = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
