import type { Edges } from './MessageEdges.js';

/** What a client's message is of which only the edges are known. */
export interface EdgeMessage {
  readonly kind: 'request' | 'response';
  /** As it was written. */
  readonly idText: string;
}

const TEXT = String.raw`"(?:[^"\\\u0000-\u001f]|\\["\\/bfnrt]|\\u[\da-fA-F]{4})*"`;
const NUMBER = String.raw`-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?`;
const MEMBER = new RegExp(String.raw`\s*"(jsonrpc|id|method)"\s*:\s*(${TEXT}|${NUMBER})\s*`, 'y');
const REST = /\s*"(params|result|error)"\s*:/y;
const LAST = /,\s*"(?:jsonrpc|id|method)"/g;

/** Members with short values that stand one behind the other from `at` on, the id among them, and where they end. */
function membersAt(text: string, from: number): { readonly idText: string | undefined; readonly at: number } {
  let idText: string | undefined;
  let at = from;
  for (;;) {
    MEMBER.lastIndex = at;
    const [, name, value] = MEMBER.exec(text) ?? [];
    if (name === undefined) return { idText, at };
    if (name === 'id') idText = value;
    at = MEMBER.lastIndex;
    if (text[at] !== ',') return { idText, at };
    at++;
  }
}

/** What a message begins as; undefined when that is none, or not known yet. */
function beginningOf(head: Buffer): { readonly isAnswer: boolean; readonly idText: string | undefined } | undefined {
  const text = head.toString('utf8');
  const open = text.search(/\S/);
  if (text[open] !== '{') return undefined;
  const { idText, at } = membersAt(text, open + 1);
  REST.lastIndex = at;
  const [, rest] = REST.exec(text) ?? [];
  return rest === undefined ? undefined : { isAnswer: rest !== 'params', idText };
}

function idAtEndOf(tail: Buffer): string | undefined {
  const text = tail.toString('utf8').trimEnd();
  for (const { index } of text.matchAll(LAST)) {
    const { idText, at } = membersAt(text, index + 1);
    if (at === text.length - 1 && text[at] === '}') return idText;
  }
  return undefined;
}

/** The request, or the answer to a server's question, that has these edges: its id stands right at its beginning or its end. */
export function messageAtEdges({ head, tail }: Pick<Edges, 'head' | 'tail'>): EdgeMessage | undefined {
  const begun = beginningOf(head);
  if (begun === undefined) return undefined;
  const idText = begun.idText ?? idAtEndOf(tail);
  return idText === undefined ? undefined : { kind: begun.isAnswer ? 'response' : 'request', idText };
}

/** Whether only its end can say what such a beginning answers. */
export function answersAtItsEnd(head: Buffer): boolean {
  const begun = beginningOf(head);
  return begun?.isAnswer === true && begun.idText === undefined;
}
