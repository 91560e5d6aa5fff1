import {
  ForbiddenError,
  MessageTooLargeError,
  messageOf,
  OutcomeUnknownError,
  type PoolkitError,
  ProtocolError,
  RateLimitedError,
  UnauthorizedError,
  UpstreamBusyError,
} from '../../../core/errors.js';
import { NoRoomError } from './IncomingBytes.js';
import { headerOf, type RawHeaders, retryAfterMs } from './responseHeaders.js';

/** A response that is no answer. */
export interface Refusal {
  readonly server: string;
  readonly method: string;
  readonly status: number;
  readonly headers: RawHeaders;
  readonly body: Buffer;
  readonly wallNowMs: number;
}

/** The error that tells the truth about a call which got this response instead of an answer. */
export function statusError({ server, method, status, headers, body, wallNowMs }: Refusal): PoolkitError {
  const challenge = headerOf(headers, 'www-authenticate');
  switch (status) {
    case 401:
      return new UnauthorizedError(server, challenge);
    case 403:
      return new ForbiddenError(server, challenge);
    case 429:
      return new RateLimitedError(`server ${server}`, 'upstream', retryAfterMs(headers, wallNowMs));
    case 503:
      return new UpstreamBusyError(server, status, retryAfterMs(headers, wallNowMs));
    default: {
      const said = excerpt(body);
      if (status >= 500) {
        return new OutcomeUnknownError(server, method, `it answered ${status}${said && `: ${said}`}`, { status });
      }
      const type = headerOf(headers, 'content-type') ?? 'none';
      return new ProtocolError(
        server,
        `it answered ${method} with ${status}, content type ${type}${said && `: ${said}`}`,
        undefined,
        status,
      );
    }
  }
}

/** What a response breaks off with whose reading failed when so many bytes had come: with no room for more it is no fault of its server. */
export function unreadable(
  { server, maxMessageBytes }: { readonly server: string; readonly maxMessageBytes: number },
  bytes: number,
  cause: unknown,
): PoolkitError {
  if (cause instanceof NoRoomError) return new MessageTooLargeError(server, 'incoming', bytes, maxMessageBytes, cause);
  return new ProtocolError(server, `its response could not be read: ${messageOf(cause)}`, cause);
}

/** The beginning of a body on one line, without markup. */
export function excerpt(body: Buffer): string {
  const text = body.toString('utf8', 0, 2_048);
  const plain = /^\s*</.test(text)
    ? text.replace(/<(script|style)[\s\S]*?<\/\1>/gi, ' ').replace(/<[^>]*>?/g, ' ')
    : text;
  const line = plain.replace(/[\s\p{C}]+/gu, ' ').trim();
  return line.length > 120 ? `${line.slice(0, 117)}...` : line;
}

/** A JSON-RPC error that came as a refusal's body. */
export interface RefusalError {
  /** Null where the server could not tell. */
  readonly id: unknown;
  readonly code: number;
  readonly error: object;
}

/** The JSON-RPC error in a refusal's body, if there is one. */
export function rpcErrorIn(body: Buffer): RefusalError | undefined {
  if (!body.toString('latin1', 0, 64).trimStart().startsWith('{')) return undefined;
  try {
    const { id = null, error } = JSON.parse(body.toString('utf8')) as { id?: unknown; error?: { code?: unknown } };
    const code = error?.code;
    return error !== undefined && typeof code === 'number' ? { id, code, error } : undefined;
  } catch {
    return undefined;
  }
}
