import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { thrown } from '../../core/errors/thrown.js';
import {
  ForbiddenError,
  PoolkitError,
  RateLimitedError,
  RequestTimeoutError,
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
    // What a server wrote may hold secrets, as may what is told of its config: both are its operator's to read.
    const start = startErrorOf(error);
    if (start !== undefined) logger.warn({ error: start, server: start.server }, 'a server did not start');
    const scope = error instanceof ForbiddenError ? error.scope : undefined;
    const after = retryAfterOf(error);
    return {
      code: RPC_CODES.internalError,
      message: start === undefined ? error.message : `server ${show(start.server)} did not start${knownReason(start)}`,
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
const startErrorOf = (error: unknown): StartError | undefined =>
  causesOf(error).find((each): each is StartError => each instanceof StartError);

/** Of the system's own codes, what clients are told: no word of a server, of its config or of its machine. */
const REASONS: Readonly<Record<string, string>> = Object.freeze({
  ENOENT: 'its program, or its folder, was not found',
  ENOTDIR: 'its program, or its folder, was not found',
  EACCES: 'its program may not be executed',
  ECONNREFUSED: 'its connection was refused',
  ECONNRESET: 'its connection was cut',
  ENOTFOUND: 'its host is not known',
  EAI_AGAIN: 'its host could not be looked up',
  ETIMEDOUT: 'its host did not answer',
  EHOSTUNREACH: 'its host cannot be reached',
  ENETUNREACH: 'its host cannot be reached',
  CERT_HAS_EXPIRED: 'its certificate is not trusted',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is not trusted',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is not trusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is not trusted',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is not trusted',
});

/** As much of why it did not start as anyone may know. */
function knownReason(start: StartError): string {
  const { exitCode, signal } = start;
  if (typeof exitCode === 'number') return `: it exited with code ${exitCode}`;
  if (typeof signal === 'string') return `: it ended on ${signal}`;
  const causes = causesOf(start);
  if (causes.some((each) => each instanceof RequestTimeoutError)) return ': it did not answer in time';
  const code = causes.map(({ code }) => code).find((each) => typeof each === 'string' && Object.hasOwn(REASONS, each));
  return code === undefined ? '' : `: ${REASONS[code]} (${code})`;
}

/** Of several at once, the first. */
function causesOf(error: unknown): NodeJS.ErrnoException[] {
  const causes: NodeJS.ErrnoException[] = [];
  let each = error;
  while (each instanceof Error && causes.length < 8) {
    causes.push(each);
    each = each.cause ?? (each instanceof AggregateError ? each.errors[0] : undefined);
  }
  return causes;
}
