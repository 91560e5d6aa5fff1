import { costsMore, MAX_ANSWER_COST } from '../../connection/channel/codec/parsingCost.js';
import type { Params } from '../../connection/protocol/messages.js';
import { META_CALL } from '../faults/events.js';

/** A JSON-RPC message as it stands on a wire; nothing about it is checked. */
export interface RpcMessage {
  readonly jsonrpc?: unknown;
  readonly id?: string | number | null;
  readonly method?: string;
  readonly params?: Params;
  readonly result?: unknown;
  readonly error?: unknown;
}

export type RpcId = string | number;

/** A request: it has a method and an id that can be answered. */
export type RpcRequest = RpcMessage & { readonly id: RpcId; readonly method: string };

export function isRequest(message: RpcMessage): message is RpcRequest {
  return typeof message.method === 'string' && (typeof message.id === 'number' || typeof message.id === 'string');
}

/** An answer to a request of the client's. */
export function isAnswer(message: RpcMessage): message is RpcMessage & { readonly id: RpcId } {
  return message.method === undefined && (typeof message.id === 'number' || typeof message.id === 'string');
}

/** The message in a text; undefined when it is none. */
export function parseMessage(text: string): RpcMessage | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as RpcMessage) : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a message has more values than may be parsed at once: what stands between two passes it on as it is. */
export const isCostly = (text: Buffer | string): boolean => costsMore(text, MAX_ANSWER_COST);

/** What is said of such a message; `bytes`: of it, as it came. */
export const passedUnread = (from: 'client' | 'server', bytes: number): string =>
  `a message of the ${from}, of ${bytes} bytes, has too many values to be parsed: it passes as it came, and no fault befalls it`;

export function notice(method: string, params?: Params): string {
  return JSON.stringify({ jsonrpc: '2.0', method, ...(params && { params }) });
}

export function answer(id: RpcId, result: unknown): string {
  return JSON.stringify({ jsonrpc: '2.0', id, result });
}

export function failure(id: RpcId, code: number, message: string, data?: unknown): string {
  return JSON.stringify({ jsonrpc: '2.0', id, error: { code, message, ...(data !== undefined && { data }) } });
}

/** The text of a tool's result. */
export function textResult(text: string): Params {
  return { content: [{ type: 'text', text }] };
}

/** What a message about a call carries, when the call was stamped. */
export function stamped<T extends object>(value: T, stamp: string | undefined): T {
  if (stamp === undefined) return value;
  const meta = (value as { readonly _meta?: object })._meta;
  return { ...value, _meta: { ...meta, [META_CALL]: stamp } };
}
