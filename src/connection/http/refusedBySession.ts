import { ForbiddenError, NotSentError, RpcError, UnauthorizedError } from '../../core/errors.js';
import type { Channel } from '../channel/Channel.js';
import { headerOf, type RawHeaders } from '../net/body/responseHeaders.js';
import { excerpt, type RefusalError, rpcErrorIn } from '../net/body/statusError.js';
import { RPC_CODES } from '../protocol/rpcCodes.js';

/** Errors of calls that a session refused and that are not for another one: a pool does not send them again either. */
export const refusedBySession = new WeakSet<object>();

export function sessionGone(server: string): NotSentError {
  const error = new NotSentError(server, 'its session is gone');
  refusedBySession.add(error);
  return error;
}

/** A call that failed waits no longer for the check of its server. */
export const CHECK_MS = 2_000;
const CHECK = Object.freeze({ timeoutMs: CHECK_MS, acquireTimeoutMs: CHECK_MS, maxTotalTimeoutMs: CHECK_MS });

/** Calls that ask no more than the check would. */
export const UNCHECKED: ReadonlySet<string> = new Set(['initialize', 'server/discover', 'ping']);

/** A call's error as it came, by which it may have been refused before it ran. */
export interface Doubted {
  readonly status: number;
  readonly error: RefusalError | undefined;
  /** It may be the end of a session that the call still ran in. */
  readonly mayHaveRun: boolean;
}

/** What servers say whose session layer does not know a session; tools say such things, too. */
const WORDS = /session|\b(?:not|before|un|re)[- ]?initiali[sz]/i;
/** What they say of one that they knew until then. */
const ENDED = /\b(?:clos(?:ed|ing)|terminated|ended|disconnected|crashed|died|lost|shut)\b/i;
/** Errors of session layers are no longer. */
const MAX_BYTES = 2_048;

/** The error that `data`, which came with a 200, is for call `id`, if it speaks of sessions. */
export function doubtedIn(data: string | Buffer, id: number): Doubted | undefined {
  // Asked of each answer: most are none.
  if (data.length > MAX_BYTES || !data.includes('"error"') || !WORDS.test(data.toString())) return undefined;
  const error = rpcErrorIn(Buffer.from(data));
  const own = error !== undefined && (error.id === id || error.id === null) && WORDS.test(messageIn(error));
  return own ? { status: 200, error, mayHaveRun: ENDED.test(messageIn(error)) } : undefined;
}

/** A refusal by status, if it speaks of sessions or of what is gone, and does not ask for credentials. */
export function doubtedRefusal(status: number, headers: RawHeaders, body: Buffer): Doubted | undefined {
  if (headerOf(headers, 'www-authenticate') !== undefined) return undefined;
  const said = excerpt(body);
  const mayHaveRun = status >= 500 && ENDED.test(said);
  return status === 410 || WORDS.test(said) ? { status, error: rpcErrorIn(body), mayHaveRun } : undefined;
}

/** What a refusal says of the session that it came in. */
export interface SaidOfSession {
  /** It is not known any more; else a `ping` tells. */
  readonly isGone: boolean;
  /** It may be a word of the call all the same. */
  readonly mayHaveRun: boolean;
}

/** Of a refusal by 404 or 400 in a session; undefined for an answer. Servers have 404 for what a call did not find, too. `id`: of the call, if it was one. */
export function saidOfSession(status: number, body: Buffer, id?: number): SaidOfSession | undefined {
  if (status !== 404 && status !== 400) return undefined;
  const error = rpcErrorIn(body);
  const own = error !== undefined && error.id === id ? error : undefined;
  const answers =
    status === 404 ? own?.code === RPC_CODES.methodNotFound : own !== undefined && own.code !== RPC_CODES.serverError;
  if (answers) return undefined;
  const speaks = WORDS.test(error === undefined ? excerpt(body) : messageIn(error));
  return { isGone: status === 404 && speaks && own === undefined, mayHaveRun: own !== undefined && !speaks };
}

interface DoubtHost {
  readonly channel: Pick<Channel, 'request'>;
  /** Whether `session` is not the one there is now. */
  isLost(session: unknown): boolean;
}

/** What a `ping` failed with in a session; undefined: it was answered. */
interface Asked {
  readonly failure: Promise<unknown>;
  readonly isOver: boolean;
}

/**
 * What a `ping` as a call of the channel tells, over any transport: whether it was a session that refused a call, not the call that failed, and whether the
 * server is well. One at a time.
 *
 * Over Streamable HTTP `PingChecks` asks besides, by a request beside the channel, and neither can do the other's. A `ping` that is a call waits while a session is
 * replaced, asks for other credentials, and where it gets 404 or 400 has its session checked, by itself. One beside the channel has a status and a body, but not what
 * stands in events, where sessions are refused too; and over HTTP+SSE its answer comes to the channel alone.
 */
export class SessionDoubts {
  readonly #host: DoubtHost;
  readonly #asked = new WeakMap<object, Asked>();

  constructor(host: DoubtHost) {
    this.#host = host;
  }

  /** Whether it was the session that refused a call: a `ping` is refused in the very same way. */
  async refuses(session: object, doubted: Doubted): Promise<boolean> {
    const asked = this.#ask(session);
    return asked !== undefined && isSame(doubted, await asked.failure);
  }

  /** Whether the server, which failed a call of `method`, answers anything at all. */
  async isWell(session: object, method: string): Promise<boolean> {
    const asked = UNCHECKED.has(method) ? undefined : this.#ask(session);
    if (asked === undefined) return false;
    const failure = await asked.failure;
    return failure === undefined || failure instanceof RpcError;
  }

  /** Of one that is lost what was said stands: other calls are still told so. */
  #ask(session: object): Asked | undefined {
    const last = this.#asked.get(session);
    if (last?.isOver === false || this.#host.isLost(session)) return last;
    const failure = this.#host.channel.request('ping', undefined, CHECK).then(
      () => undefined,
      (error: unknown) => error,
    );
    const asked = { failure, isOver: false };
    void failure.then(() => {
      asked.isOver = true;
    });
    this.#asked.set(session, asked);
    return asked;
  }
}

function isSame({ status, error }: Doubted, failure: unknown): boolean {
  if (failure instanceof RpcError)
    return error !== undefined && failure.rpcCode === error.code && failure.message === messageIn(error);
  return status >= 400 && statusOf(failure) === status;
}

function statusOf(failure: unknown): unknown {
  if (failure instanceof UnauthorizedError) return 401;
  if (failure instanceof ForbiddenError) return 403;
  return (failure as { readonly status?: unknown } | undefined)?.status;
}

const messageIn = ({ error }: RefusalError): string => String((error as { readonly message?: unknown }).message);
