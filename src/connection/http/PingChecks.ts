import type { Logger } from '../../core/logger.js';
import { mediaTypeOf } from '../net/body/responseHeaders.js';
import { rpcErrorIn } from '../net/body/statusError.js';
import type { PlainAnswer } from '../net/PlainExchange.js';
import { RPC_CODES } from '../protocol/rpcCodes.js';
import type { Session } from './HttpCallTransport.js';
import { UNCHECKED } from './refusedBySession.js';

export interface PingChecksSettings {
  readonly server: string;
  readonly logger: Logger;
  /** Sends a `ping`. */
  readonly ping: () => Promise<PlainAnswer>;
}

/** What a `ping` tells of a refusal that may speak of its request, of the session or of the whole server. One at a time. */
export class PingChecks {
  readonly #settings: PingChecksSettings;
  #lost: { readonly session: Session; readonly answer: Promise<boolean> } | undefined;
  #well: Promise<boolean> | undefined;

  constructor(settings: PingChecksSettings) {
    this.#settings = settings;
  }

  /** Whether the server does not know `session` any more: even a `ping` is refused. */
  isLost(session: Session): Promise<boolean> {
    if (this.#lost?.session !== session) this.#lost = { session, answer: this.#askLost() };
    return this.#lost.answer;
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
    const answer = await this.#ask();
    this.#well = undefined;
    // An error, too, is an answer: the modern era has no `ping`, and unknown methods are 404.
    if (answer === undefined || answer.status >= 500) return false;
    return rpcErrorIn(answer.body) !== undefined || (answer.status < 300 && isMessage(answer));
  }

  /** Undefined when there was no response. */
  async #ask(): Promise<PlainAnswer | undefined> {
    const { server, logger, ping } = this.#settings;
    try {
      return await ping();
    } catch (error) {
      logger.debug({ server, error }, 'a server could not be checked');
      return undefined;
    }
  }
}

/** Not the page that something in front of the server has for all requests. */
const isMessage = ({ headers }: PlainAnswer): boolean => ['json', 'events'].includes(mediaTypeOf(headers) ?? '');
