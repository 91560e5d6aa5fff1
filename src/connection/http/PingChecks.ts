import type { Logger } from '../../core/logger.js';
import { mediaTypeOf } from '../net/body/responseHeaders.js';
import { rpcErrorIn } from '../net/body/statusError.js';
import type { PlainAnswer } from '../net/PlainExchange.js';
import { RPC_CODES } from '../protocol/rpcCodes.js';
import type { Session } from './HttpCallTransport.js';
import { type Doubted, isSame } from './refusedBySession.js';

/** A call that failed waits no longer for the check of its server. */
export const CHECK_MS = 2_000;
export const CHECK = Object.freeze({ timeoutMs: CHECK_MS, acquireTimeoutMs: CHECK_MS, maxTotalTimeoutMs: CHECK_MS });

/** Calls that ask no more than the check would. */
export const UNCHECKED: ReadonlySet<string> = new Set(['initialize', 'server/discover', 'ping']);

export interface PingChecksSettings {
  readonly server: string;
  readonly logger: Logger;
  /** Sends a `ping`, which may take `timeoutMs`. */
  readonly ping: (timeoutMs?: number) => Promise<PlainAnswer>;
  /** The same as a call of the session there is now. */
  readonly call: () => Promise<unknown>;
  readonly isNow: (session: Session) => boolean;
}

/** What a `ping` tells of a refusal that may speak of its request, of the session or of the whole server. One at a time. */
export class PingChecks {
  readonly #settings: PingChecksSettings;
  #lost: { readonly session: Session; readonly answer: Promise<boolean> } | undefined;
  #well: Promise<boolean> | undefined;
  /** What a `ping` failed with, in each session; undefined: it was answered. */
  readonly #failures = new WeakMap<Session, Promise<unknown>>();

  constructor(settings: PingChecksSettings) {
    this.#settings = settings;
  }

  /** Whether the server does not know `session` any more: even a `ping` is refused. */
  isLost(session: Session): Promise<boolean> {
    if (this.#lost?.session !== session) this.#lost = { session, answer: this.#askLost() };
    return this.#lost.answer;
  }

  /** Whether it was `session` that refused a call, not the call that failed: a `ping` is refused in the very same way. */
  async refuses(session: Session, doubted: Doubted): Promise<boolean> {
    const { call, isNow } = this.#settings;
    const known = this.#failures.get(session);
    if (known === undefined && !isNow(session)) return false;
    const asked =
      known ??
      call().then(
        () => undefined,
        (error: unknown) => error,
      );
    this.#failures.set(session, asked);
    const same = isSame(doubted, await asked);
    // Of one that is lost it is kept: other calls are still told so.
    if (!same) this.#failures.delete(session);
    return same;
  }

  /** Whether the server, which failed a call of `method`, answers anything at all. */
  isWell(method: string): Promise<boolean> {
    if (UNCHECKED.has(method)) return Promise.resolve(false);
    this.#well ??= this.#askWell();
    return this.#well;
  }

  async #askLost(): Promise<boolean> {
    const answer = await this.#ask();
    this.#lost = undefined;
    if (answer?.status !== 400 && answer?.status !== 404) return false;
    // One that does not know `ping` knows the session.
    return rpcErrorIn(answer.body)?.code !== RPC_CODES.methodNotFound;
  }

  async #askWell(): Promise<boolean> {
    const answer = await this.#ask(CHECK_MS);
    this.#well = undefined;
    // An error, too, is an answer: the modern era has no `ping`, and unknown methods are 404.
    if (answer === undefined || answer.status >= 500) return false;
    return rpcErrorIn(answer.body) !== undefined || (answer.status < 300 && isMessage(answer));
  }

  /** Undefined when there was no response. */
  async #ask(timeoutMs?: number): Promise<PlainAnswer | undefined> {
    const { server, logger, ping } = this.#settings;
    try {
      return await ping(timeoutMs);
    } catch (error) {
      logger.debug({ server, error }, 'a server could not be checked');
      return undefined;
    }
  }
}

/** Not the page that something in front of the server has for all requests. */
const isMessage = ({ headers }: PlainAnswer): boolean => ['json', 'events'].includes(mediaTypeOf(headers) ?? '');
