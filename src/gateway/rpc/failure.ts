import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { thrown } from '../../core/errors/thrown.js';
import {
  ForbiddenError,
  PoolkitError,
  RateLimitedError,
  RpcError,
  StartError,
  show,
  UpstreamBusyError,
} from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';

/** A JSON-RPC error object. */
export interface Failure {
  readonly code: number;
  readonly message: string;
  readonly data?: unknown;
  /** The data as JSON text, which goes before what was read of it. */
  readonly dataText?: string | undefined;
}

/** The JSON of an error. */
export function failureText({ code, message, data, dataText }: Failure): string {
  if (dataText === undefined) return JSON.stringify({ code, message, ...(data === undefined ? {} : { data }) });
  return `{"code":${JSON.stringify(code)},"message":${JSON.stringify(message)},"data":${dataText}}`;
}

/** The error that answers the message of that id, which is JSON text. */
export const errorText = (idText: string, failure: Failure): string =>
  `{"jsonrpc":"2.0","id":${idText},"error":${failureText(failure)}}`;

/** The gateway's own refusal of a message that no server was asked about. */
export class Refusal extends Error {
  readonly failure: Failure;
  constructor(code: number, message: string, data?: unknown) {
    super(message);
    this.failure = { code, message, ...(data === undefined ? {} : { data }) };
  }
}

/** No server's `Retry-After` sends clients away for longer, in ms: nor does it pause a limiter, by default. */
const MAX_SAID_MS = 60_000;

function retryAfterOf(error: PoolkitError): number | undefined {
  const after = 'retryAfterMs' in error ? error.retryAfterMs : undefined;
  if (typeof after !== 'number') return undefined;
  const said = error instanceof UpstreamBusyError || (error instanceof RateLimitedError && error.source === 'upstream');
  return said ? Math.min(after, MAX_SAID_MS) : after;
}

/**
 * What a client is told. A server's own error goes through as it came; a failure of ours is -32603 with its code in
 * `data.code` and whether calling again is safe. Anything else is logged and told without detail.
 */
export function failureOf(given: unknown, logger: Logger): Failure {
  const error = thrown(given);
  if (error instanceof RpcError) {
    const { rpcCode: code, message, data, dataText } = error;
    return { code, message, ...(data === undefined ? {} : { data, dataText }) };
  }
  if (error instanceof Refusal) return error.failure;
  if (error instanceof PoolkitError) {
    const { code, retryable } = error;
    // What a server wrote to stderr may hold secrets, and is its operator's to read.
    const start = startErrorOf(error);
    if (start !== undefined) logger.warn({ error: start, server: start.server }, 'a server did not start');
    const scope = error instanceof ForbiddenError ? error.scope : undefined;
    const after = retryAfterOf(error);
    return {
      code: RPC_CODES.internalError,
      message: start === undefined ? error.message : `server ${show(start.server)} did not start`,
      data: {
        code,
        retryable,
        ...(after === undefined ? {} : { retryAfterMs: after }),
        ...(scope !== undefined && { scope }),
      },
    };
  }
  logger.error({ error }, 'a request failed in an unexpected way');
  return { code: RPC_CODES.internalError, message: 'internal error' };
}

/** The failed start behind an error, its own or as a cause: messages quote their causes. */
function startErrorOf(error: unknown): StartError | undefined {
  let each = error;
  for (let depth = 0; each instanceof Error && depth < 8; depth++, each = each.cause) {
    if (each instanceof StartError) return each;
  }
  return undefined;
}
