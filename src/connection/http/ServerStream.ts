import type { Timer } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import type { Call } from '../channel/Call.js';
import type { SseEvent } from '../net/body/events/SseReader.js';
import { headerOf } from '../net/body/responseHeaders.js';
import { type StreamEnd, StreamExchange } from '../net/StreamExchange.js';
import { eventIdHeader } from './eventIdHeader.js';
import type { AnswerStream, Session } from './HttpCallTransport.js';
import type { HttpTransport } from './HttpTransport.js';

/** Pause before the stream is opened again, where the server does not say; doubles to `MAX_PAUSE_MS`. */
const PAUSE_MS = 1_000;
/** However little the server says: `retry: 0` must not make us ask without a pause. */
const MIN_PAUSE_MS = 250;
const MAX_PAUSE_MS = 30_000;

/**
 * The GET stream of a legacy session: what the server says unasked. Opened again with the last event's id when it ends,
 * until the session does; a server without one (405) is left in peace. Some servers, and bridges to them, answer calls on it.
 */
export class ServerStream implements AnswerStream {
  readonly #transport: HttpTransport;
  readonly #session: Session;
  #exchange: StreamExchange | undefined;
  #timer: Timer | undefined;
  #stopped = false;
  #resumeAt: string | undefined;
  #retryMs = PAUSE_MS;
  #failures = 0;
  #renewed = false;
  /** The server has one, in this session. */
  #had = false;
  /** It is open, or about to be, or goes on behind its last event. */
  #listens = true;
  readonly #awaiting = new Map<Call, () => void>();

  constructor(transport: HttpTransport) {
    this.#transport = transport;
    this.#session = transport.session;
    this.#open();
  }

  /** Ends it for good. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#exchange?.end();
    this.#unheard();
  }

  awaits(call: Call, fail: () => void): boolean {
    if (this.#listens) this.#awaiting.set(call, fail);
    return this.#listens;
  }

  letGo(call: Call): void {
    this.#awaiting.delete(call);
  }

  #unheard(): void {
    this.#listens = false;
    const fails = [...this.#awaiting.values()];
    this.#awaiting.clear();
    for (const fail of fails) fail();
  }

  #open(): void {
    if (this.#stopped) return;
    const { endpoint } = this.#transport;
    const used = endpoint.credentials;
    this.#exchange = new StreamExchange(endpoint, this.#transport.streamHeaders(this.#resumeAt), {
      onOpen: () => {
        this.#renewed = false;
        this.#had = true;
        this.#listens = true;
      },
      onEvent: (event) => this.#event(event),
      onSkipped: (edges, error) => this.#transport.channel.unread.oversized(edges, error),
      onRetry: (delayMs) => {
        this.#retryMs = Math.max(delayMs, MIN_PAUSE_MS);
      },
      onEnd: (end) => void this.#ended(end, used).catch((error: unknown) => this.#giveUp(messageOf(error))),
    });
  }

  #event({ id, event, data }: SseEvent): void {
    this.#failures = 0;
    if (id) this.#resumeAt = eventIdHeader(id);
    if (data === '' || (event !== undefined && event !== 'message')) return;
    this.#transport.channel.read(data);
  }

  async #ended({ status, streamed, headers, error }: StreamEnd, used: object | undefined): Promise<void> {
    if (this.#stopped) return;
    // What came meanwhile is lost, unless it is asked for by its place.
    if (!streamed || this.#resumeAt === undefined) this.#unheard();
    if (status === 401) {
      const challenge = headerOf(headers, 'www-authenticate');
      if (this.#renewed || !(await this.#transport.endpoint.renew(used, challenge))) {
        this.#giveUp('it wants other credentials');
      } else {
        this.#renewed = true;
        this.#open();
      }
    } else if (status === 400 || status === 404) {
      // Refused from the first on: there is none, which some servers say so. A session that is lost shows at the next call.
      const asked = this.#had && !this.#transport.isNew(this.#session);
      if (asked && (await this.#transport.confirmLost(this.#session))) this.#transport.sessionLost(this.#session);
      else this.#giveUp(`it answered ${status}`);
    } else if (status === 0 || streamed || status >= 500 || status === 429) this.#reopen(error);
    else this.#giveUp(`it answered ${status}`);
  }

  #reopen(error: Error | undefined): void {
    if (this.#stopped) return;
    const {
      clock,
      endpoint: { server },
      settings: { logger },
    } = this.#transport;
    const pauseMs = Math.min(this.#retryMs * 2 ** this.#failures, MAX_PAUSE_MS);
    this.#failures = Math.min(this.#failures + 1, 10);
    logger.debug({ server, error, pauseMs }, 'the stream of the server ended; it is opened again');
    this.#timer = clock.setTimer(() => this.#open(), pauseMs);
  }

  #giveUp(why: string): void {
    const {
      endpoint: { server },
      settings: { logger },
    } = this.#transport;
    logger.debug({ server, why }, 'the server keeps no stream of its own open');
  }
}
