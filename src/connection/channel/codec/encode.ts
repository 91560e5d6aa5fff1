import { MessageTooLargeError, OptionError } from '../../../core/errors.js';
import type { Params } from '../../protocol/messages.js';
import type { Call } from '../Call.js';

/** What a message must keep to: whose it is, for errors, and its size in bytes. */
export interface MessageBounds {
  readonly server: string;
  readonly maxMessageBytes: number;
}

/** What an era adds to the params of every message. */
export type Envelope = (params: Params | undefined) => Params;

/**
 * A call's text. Its id stands in for the caller's progress token, which is kept with the call.
 * @throws OptionError for params that are not JSON; MessageTooLargeError
 */
export function encodeCall(call: Call, envelope: Envelope | undefined, bounds: MessageBounds): string {
  let { params } = call;
  if (envelope !== undefined && call.method !== 'initialize') params = envelope(params);
  const meta = params?.['_meta'] as Params | undefined;
  const token = meta?.['progressToken'] as string | number | undefined;
  if (token !== undefined || call.options.onProgress !== undefined) {
    call.progressToken = token;
    params = { ...params, _meta: { ...meta, progressToken: call.id } };
  }
  return stringify(
    params === undefined
      ? { jsonrpc: '2.0', id: call.id, method: call.method }
      : { jsonrpc: '2.0', id: call.id, method: call.method, params },
    bounds,
  );
}

/** A notification's text, checked as a call's is. */
export function encodeNotice(
  method: string,
  params: Params | undefined,
  envelope: Envelope | undefined,
  bounds: MessageBounds,
): string {
  const full = envelope === undefined ? params : envelope(params);
  return stringify(full === undefined ? { jsonrpc: '2.0', method } : { jsonrpc: '2.0', method, params: full }, bounds);
}

/** What tells a server that the caller of `call` has given it up. */
export function cancelledNotice(call: Call, reason: string): string {
  const params = { requestId: call.id, reason };
  return JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params });
}

/** A message's text. @throws OptionError, MessageTooLargeError */
export function stringify(message: Params, { server, maxMessageBytes }: MessageBounds): string {
  let text: string;
  try {
    text = JSON.stringify(message);
  } catch (error) {
    throw new OptionError('params', message['params'] ?? message['result'], 'a value that JSON can carry', error);
  }
  // A UTF-16 unit is at most three bytes: most messages need no count.
  if (text.length * 3 > maxMessageBytes) {
    const bytes = Buffer.byteLength(text);
    if (bytes > maxMessageBytes) throw new MessageTooLargeError(server, 'outgoing', bytes, maxMessageBytes);
  }
  return text;
}
