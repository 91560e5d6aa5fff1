import { keepText, textOf } from '../channel/codec/exactText.js';
import { keyOf, MAX_MEMBERS, skipSpace, skipString, skipValue } from '../channel/codec/members.js';

type Members = Readonly<Record<string, unknown>>;

/** Text, or a value that is written once it is known that nothing around it is written anew. */
type Part = string | { readonly anew: unknown };

/**
 * `text`, which says `before`, so that it says `after`: members that are the same in both keep their text, and with it numbers that
 * JavaScript cannot hold. What differs and is no object is written anew, and so is an object that differs where `membersOf` is undefined. The text is gone
 * through once, however deep it is nested.
 */
export function spliced(text: string, before: unknown, after: unknown): string {
  if (before === after) return text;
  const parts: Part[] = [];
  splice(parts, text, skipSpace(text, 0), before, after);
  return parts.map((part) => (typeof part === 'string' ? part : json(part.anew))).join('');
}

/** `after`, which keeps the text of what it shares with `before`. */
export function respliced<T extends object | undefined>(before: object | undefined, after: T): T {
  const text = before === after ? undefined : textOf(before);
  if (text !== undefined) keepText(after, spliced(text, before, after));
  return after;
}

/** Adds what is to stand for the value that begins at `at`; where that ends. */
function splice(parts: Part[], text: string, at: number, before: unknown, after: unknown): number {
  if (before !== after && isMembers(before) && isMembers(after)) return spliceMembers(parts, text, at, before, after);
  const end = skipValue(text, at);
  const written = before === after ? undefined : json(after);
  // Long params are parsed anew at each look, so that equal ones need not be the same.
  parts.push(written === undefined || written === JSON.stringify(before) ? text.slice(at, end) : written);
  return end;
}

/** The same of an object, member by member; nothing of its text is kept once a name comes twice, or there are too many. */
function spliceMembers(parts: Part[], text: string, at: number, before: Members, after: Members): number {
  const begin = parts.length;
  const names = new Set<string>();
  let open = '{';
  if (text[at] !== '{') {
    parts.push({ anew: after });
    return skipValue(text, at);
  }
  let keeps = true;
  let from = skipSpace(text, at + 1);
  while (from < text.length && text[from] !== '}') {
    const keyEnd = skipString(text, from);
    const key = keyOf(text, from, keyEnd);
    const valueStart = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const [was, is] = [memberOf(before, key), memberOf(after, key)];
    let end: number;
    keeps &&= names.size < MAX_MEMBERS && names.size !== names.add(key).size;
    if (!keeps || (is === undefined && was !== undefined)) end = skipValue(text, valueStart);
    else {
      parts.push(open, text.slice(from, valueStart));
      end = splice(parts, text, valueStart, was, is);
      open = ',';
    }
    from = skipSpace(text, end);
    if (text[from] === ',') from = skipSpace(text, from + 1);
  }
  if (!keeps) {
    parts.length = begin;
    parts.push({ anew: after });
    return from + 1;
  }
  for (const key of Object.keys(after)) {
    const own = names.has(key) || memberOf(before, key) === after[key] ? undefined : JSON.stringify(after[key]);
    if (own === undefined) continue;
    parts.push(open, `${JSON.stringify(key)}:${own}`);
    open = ',';
  }
  parts.push(open === '{' ? '{}' : '}');
  return from + 1;
}

/** What JSON makes of a member: what is inherited is none. */
const memberOf = (members: Members, key: string): unknown => (Object.hasOwn(members, key) ? members[key] : undefined);

const json = (value: unknown): string => JSON.stringify(value) ?? 'null';

const isMembers = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
