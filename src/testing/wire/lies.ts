import type { Params } from '../../connection/protocol/messages.js';
import type { RpcId, RpcMessage } from './messages.js';

/** What faults make of an answer: each is a pure function of it. */

const LOG_LINES = [
  '[info] listening',
  'Debugger attached.',
  '{"half": ',
  '\u001b[33mwarning\u001b[0m: slow disk',
  '<html>',
];

/** So many texts that are no JSON. */
export function garbage(count: number): string[] {
  return Array.from({ length: count }, (_, n) => LOG_LINES[n % LOG_LINES.length] as string);
}

/** The answer under another id. */
export function withId(message: RpcMessage, id: RpcId): string {
  return JSON.stringify({ ...message, id });
}

/** An answer of at least that many bytes. */
export function oversized(id: RpcId, bytes: number): string {
  return JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: 'x'.repeat(bytes) }] } });
}

/** The same shape with other words: every `text` is reversed. */
export function lied(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(lied);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [
      key,
      key === 'text' && typeof each === 'string' ? `${[...each].reverse().join('')} (a lie)` : lied(each),
    ]),
  );
}

/** A bound of a write inside a character of several bytes, else the middle. */
export function splitPoint(bytes: Buffer): number {
  const lead = bytes.findIndex((byte) => byte >= 0xc0);
  return lead >= 0 ? lead + 1 : Math.max(1, bytes.length >> 1);
}

interface ListedTool {
  readonly name?: string;
  readonly inputSchema?: Params;
}

function toolsOf(result: unknown): readonly ListedTool[] {
  const { tools } = (result ?? {}) as { readonly tools?: unknown };
  return Array.isArray(tools) ? (tools as ListedTool[]) : [];
}

/** The name of the tool that a fault is about: the one it names, else the first of the list. */
export function toolIn(result: unknown, of: string | undefined): string | undefined {
  return of ?? toolsOf(result)[0]?.name;
}

export function withoutTool(result: unknown, name: string | undefined): unknown {
  return { ...(result as object), tools: toolsOf(result).filter((tool) => tool.name !== name) };
}

export function withOtherSchema(result: unknown, name: string | undefined): unknown {
  const changed = (tool: ListedTool): ListedTool => {
    const { properties = {}, required = [] } = (tool.inputSchema ?? {}) as {
      readonly properties?: Params;
      readonly required?: readonly string[];
    };
    const inputSchema = {
      ...tool.inputSchema,
      type: 'object',
      properties: { ...properties, added: { type: 'string' } },
      required: [...required, 'added'],
    };
    return { ...tool, inputSchema };
  };
  return { ...(result as object), tools: toolsOf(result).map((tool) => (tool.name === name ? changed(tool) : tool)) };
}

export function withCursor(result: unknown, turn: number): unknown {
  return { ...(result as object), nextCursor: `endless-${turn}` };
}

/** Modern: the server wants to know more before it answers. */
export function inputRequired(turn: number): Params {
  const requestedSchema = { type: 'object', properties: { more: { type: 'string' } } };
  return {
    resultType: 'input_required',
    inputRequests: {
      more: { method: 'elicitation/create', params: { mode: 'form', message: 'what else?', requestedSchema } },
    },
    requestState: `asked ${turn} times`,
  };
}
