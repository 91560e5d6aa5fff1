import { ANSWER_FIRST, ID, ID_LAST, VERSION } from './idAtEdge.js';

/** So many bytes are looked at to each side of what may belong to a message. */
const WINDOW_BYTES = 256;
/** More messages are not looked for in one piece of garbage. */
const MAX_MESSAGES = 1_000;
const VERSION_KEY = '"jsonrpc"';
const METHOD_KEY = '"method"';
const ANSWER_KEYS = ['"result"', '"error"'];

/** A message begins, also when it breaks off in its first key. Other lines may quote messages: logs of what was sent do. */
const MESSAGE_FIRST = /^\s*\{\s*(?:"(?:jsonrpc|id|result|error|method)"|"?[a-z]*\{)/;
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
  return MESSAGE_FIRST.test(line.toString('latin1', 0, WINDOW_BYTES)) ? idsInside(line) : new Set();
}

/** The same for a piece of garbage that began as an answer. */
export function idsInside(bytes: Buffer): ReadonlySet<number> {
  const ids = new Set<number>();
  const tail = Math.max(0, bytes.length - WINDOW_BYTES);
  look(bytes, 0, 0, ids);
  let before = 0;
  for (let left = MAX_MESSAGES; left > 0; left--) {
    const at = bytes.indexOf(VERSION_KEY, before, 'latin1');
    if (at < 0) break;
    look(bytes, at, before, ids);
    before = at + VERSION_KEY.length;
  }
  const last = ID_LAST.exec(bytes.toString('latin1', tail));
  if (last !== null && !isRequest(bytes.subarray(0, tail + last.index))) ids.add(Number(last[1]));
  return ids;
}

/** Whether a line begins as an answer, though it may name none. */
export function beginsAsAnswer(line: Buffer): boolean {
  return ANSWER_FIRST.test(line.toString('latin1', 0, WINDOW_BYTES));
}

/** Around `at`, behind what was looked at `before`. */
function look(bytes: Buffer, at: number, before: number, ids: Set<number>): void {
  const from = Math.max(0, at - WINDOW_BYTES);
  const text = bytes.toString('latin1', from, at + WINDOW_BYTES);
  for (const [, id] of text.matchAll(BEGUN)) ids.add(Number(id));
  for (const { 1: id, index } of text.matchAll(ENDED)) {
    if (!isRequest(bytes.subarray(Math.min(before, from), from + index))) ids.add(Number(id));
  }
}

/** Whether the message that `bytes` are up to its id is a request: it began with its method. */
function isRequest(bytes: Buffer): boolean {
  const answer = Math.max(...ANSWER_KEYS.map((key) => bytes.lastIndexOf(key, undefined, 'latin1')));
  const at = bytes.lastIndexOf(METHOD_KEY, undefined, 'latin1');
  return at > answer && FIRST_IN_OBJECT.test(bytes.toString('latin1', Math.max(0, at - WINDOW_BYTES), at));
}
