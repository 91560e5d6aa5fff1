import { ANSWER_FIRST, ID, ID_LAST, VERSION } from './idAtEdge.js';

/** So many bytes are looked at to each side of what may belong to a message. */
const WINDOW_BYTES = 256;
/** And so many behind it, so that those that follow closely are looked at together. */
const SPAN_BYTES = 1_024;
/** More messages are not looked for in a line, and in a piece of one. */
const MAX_IN_LINE = 1_000;
const MAX_IN_PIECE = 100;
/** How far behind its id the beginning of a message is looked for. */
const BACK_BYTES = 4 * 1_024;
const VERSION_KEY = '"jsonrpc"';
const METHOD_KEY = '"method"';
const ANSWER_KEYS = ['"result"', '"error"'];

/** A message begins, also when it breaks off in its first key. Other lines may quote messages: logs of what was sent do. */
const MESSAGE_FIRST = /^\s*\{\s*(?:"(?:jsonrpc|id|result|error|method)"|"?[a-z]*\{)/;
const MAY_ANSWER = /^\s*[{[]/;
const REQUEST_FIRST = new RegExp(String.raw`^\s*\{\s*(?:(?:${VERSION}|${ID}),\s*)*"(?:method|params)"`);
/** An answer begins with its id, and may break off behind it. The only other keys there are `method` and `params`. */
const BEGUN = new RegExp(String.raw`\{\s*(?:${VERSION},\s*)?${ID},\s*(?:${VERSION},\s*)?"[re]`, 'g');
/** A message ends with its id, and another begins. */
const ENDED = new RegExp(String.raw`[}\]"\dle]\s*,\s*(?:${VERSION},\s*)?${ID}(?:,\s*${VERSION})?\}\s*(?=\{)`, 'g');
const FIRST_IN_OBJECT = new RegExp(String.raw`\{\s*(?:${VERSION},\s*)?$`);

/**
 * The ids of the answers that can be made out in a line that is not JSON, such as half of an answer with others behind it. A line
 * that does not begin as a message names none.
 */
export function idsInGarbage(line: Buffer): ReadonlySet<number> {
  return MESSAGE_FIRST.test(line.toString('latin1', 0, WINDOW_BYTES)) ? idsInside(line, MAX_IN_LINE) : new Set();
}

/** The same for a piece of garbage that began as an answer. */
export function idsInside(bytes: Buffer, maxMessages = MAX_IN_PIECE): ReadonlySet<number> {
  const ids = new Set<number>();
  let seen = look(bytes, 0, 0, ids);
  let before = 0;
  for (let left = maxMessages; left > 0; left--) {
    const at = bytes.indexOf(VERSION_KEY, before, 'latin1');
    if (at < 0) break;
    // What lies well within that was looked at already: a line of short ones would be looked at over and over.
    if (at + WINDOW_BYTES > seen) seen = look(bytes, at, before, ids);
    before = at + VERSION_KEY.length;
  }
  const tail = Math.max(0, bytes.length - WINDOW_BYTES);
  const text = bytes.toString('latin1', tail);
  const last = ID_LAST.exec(text);
  if (last !== null && !isRequest(bytes, 0, tail, text.slice(0, last.index))) ids.add(Number(last[1]));
  return ids;
}

/** Whether a line begins as an answer, though it may name none. */
export function beginsAsAnswer(line: Buffer): boolean {
  return ANSWER_FIRST.test(line.toString('latin1', 0, WINDOW_BYTES));
}

/** Whether a message of which only the beginning is known may be an answer, also with members that none has. */
export function mayAnswer(head: Buffer): boolean {
  const start = head.toString('latin1');
  return MAY_ANSWER.test(start) && !REQUEST_FIRST.test(start);
}

/** Around `at`, behind what was looked at `before`; up to where. */
function look(bytes: Buffer, at: number, before: number, ids: Set<number>): number {
  const from = Math.max(0, at - WINDOW_BYTES);
  const to = at + SPAN_BYTES;
  const text = bytes.toString('latin1', from, to);
  for (const [, id] of text.matchAll(BEGUN)) ids.add(Number(id));
  for (const { 1: id, index } of text.matchAll(ENDED)) {
    if (!ids.has(Number(id)) && !isRequest(bytes, before, from, text.slice(0, index))) ids.add(Number(id));
  }
  return to;
}

/** Whether a message is a request, by its keys: `text` is its end up to its id, which begins at `to`; the rest is behind `from`. */
function isRequest(bytes: Buffer, from: number, to: number, text: string): boolean {
  return (
    beginsAsRequest(text) ?? beginsAsRequest(bytes.toString('latin1', Math.max(from, to - BACK_BYTES), to)) ?? false
  );
}

/** Undefined when no key says so. Any object may have a method; that of a request stands first in it. */
function beginsAsRequest(text: string): boolean | undefined {
  const answer = Math.max(...ANSWER_KEYS.map((key) => text.lastIndexOf(key)));
  const method = text.lastIndexOf(METHOD_KEY);
  if (answer < 0 && method < 0) return undefined;
  return method > answer && FIRST_IN_OBJECT.test(text.slice(Math.max(0, method - WINDOW_BYTES), method));
}
