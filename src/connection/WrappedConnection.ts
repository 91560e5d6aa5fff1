import { CLOSE_DEFAULTS, type CloseOptions } from '../core/close/CloseScope.js';
import { OutcomeUnknownError, RequestTimeoutError, ShutdownTimeoutError } from '../core/errors.js';
import { checkAtOnce, checkPart } from '../core/options.js';
import { within } from '../core/time/within.js';
import type { Connection, ConnectionLimits, DisconnectReason, NotifyOptions } from './Connection.js';
import type { CallOptions, Params, RequestHandler, ServerNotice } from './protocol/messages.js';

/** How much longer than the connection behind it what stands in front may take, in ms. */
const LONGER_MS = 1_000;

const METHODS = ['request', 'notify', 'close', 'onClose', 'onNotification', 'setRequestHandler'] as const;

/**
 * What a user's `wrapConnection` put in front of a connection: it may hang, throw, or lose a call. Each call settles within its time, or
 * soon after the connection behind has ended; that one is closed whatever becomes of the close in front, and is asked itself where a
 * look at the one in front throws.
 */
export class WrappedConnection implements Connection {
  readonly #front: Connection;
  readonly #made: Connection;
  readonly #limits: ConnectionLimits;
  /** Aborts when what is left of its calls is given up. */
  readonly #over = new AbortController();
  readonly #ended: Disposable;
  #late: Disposable | undefined;

  /** @throws OptionError for what is no connection */
  constructor(front: Connection, made: Connection, limits: ConnectionLimits) {
    this.#front = checkPart(
      'wrapConnection',
      front,
      METHODS,
      `a function that gives a Connection, with ${METHODS.join(', ')}`,
    );
    this.#made = made;
    this.#limits = limits;
    this.#ended = made.onClose(() => {
      this.#late = limits.clock.setTimer(() => this.#giveUp(), LONGER_MS);
    });
  }

  get server(): string {
    return this.#made.server;
  }
  get info(): Connection['info'] {
    return this.#look('info');
  }
  get pid(): number | undefined {
    return this.#look('pid');
  }
  get alive(): boolean {
    return this.#made.alive && this.#look('alive');
  }
  get startedAt(): number {
    return this.#look('startedAt');
  }
  get counters(): Connection['counters'] {
    return this.#look('counters');
  }
  get limits(): Connection['limits'] {
    return this.#made.limits;
  }
  get inFlight(): number {
    return this.#look('inFlight');
  }
  get unsentBytes(): number {
    return this.#look('unsentBytes');
  }
  get listen(): Connection['listen'] {
    return this.#look('listen')?.bind(this.#front);
  }

  async request(method: string, params: Params | undefined, options: CallOptions): Promise<unknown> {
    const { clock, ...limits } = this.#limits;
    const { acquireTimeoutMs, timeoutMs, maxTotalTimeoutMs, signal, untilMs } = { ...limits, ...options };
    // Progress makes it longer, and while a person is asked its time stands still.
    const longestMs = options.resetTimeoutOnProgress === true ? maxTotalTimeoutMs : timeoutMs;
    const heldMs = options.pauseWhileAsked === true ? Number.POSITIVE_INFINITY : acquireTimeoutMs + longestMs;
    const leftMs = untilMs === undefined ? Number.POSITIVE_INFINITY : Math.max(0, untilMs - clock.now());
    const late = (): Error => new RequestTimeoutError(this.server, method, timeoutMs);
    const call = async (): Promise<unknown> => this.#front.request(method, params, options);
    const bounds = { clock, timeoutMs: Math.min(heldMs, leftMs) + LONGER_MS, late, signal };
    return within(this.#untilOver(call()), bounds);
  }

  async notify(method: string, params?: Params, options?: NotifyOptions): Promise<void> {
    const { clock, timeoutMs } = this.#limits;
    const late = (): Error => new RequestTimeoutError(this.server, method, timeoutMs);
    const told = async (): Promise<void> => this.#front.notify(method, params, options);
    return within(this.#untilOver(told()), { clock, timeoutMs, late });
  }

  onClose(listener: (death: DisconnectReason) => void): Disposable {
    return checkAtOnce('wrapConnection.onClose', this.#front.onClose(listener));
  }

  onNotification(listener: (notice: ServerNotice) => void): Disposable {
    return checkAtOnce('wrapConnection.onNotification', this.#front.onNotification(listener));
  }

  setRequestHandler(handler: RequestHandler | undefined): void {
    checkAtOnce('wrapConnection.setRequestHandler', this.#front.setRequestHandler(handler));
  }

  async close(options: CloseOptions = {}): Promise<void> {
    const { graceMs = CLOSE_DEFAULTS.graceMs } = options;
    const { clock } = this.#limits;
    const late = (): Error =>
      new ShutdownTimeoutError(`the connection that wrapConnection gave for ${this.server}`, LONGER_MS);
    const close = async (): Promise<void> => this.#front.close(options);
    const closed = close();
    const closedWithin = (timeoutMs: number): Promise<void> => within(closed, { clock, timeoutMs, late });
    await Promise.allSettled([closedWithin(graceMs + LONGER_MS)]);
    await this.#made.close(options).finally(() => this.#giveUp());
    // It may have waited for the one behind it, which takes its time: a server that is deaf is killed first.
    await closedWithin(LONGER_MS);
  }

  #look<K extends keyof Connection>(name: K): Connection[K] {
    try {
      return this.#front[name];
    } catch {
      return this.#made[name];
    }
  }

  #untilOver<T>(work: Promise<T>): Promise<T> {
    return within(work, { clock: this.#limits.clock, signal: this.#over.signal });
  }

  #giveUp(): void {
    this.#ended[Symbol.dispose]();
    this.#late?.[Symbol.dispose]();
    this.#over.abort(
      new OutcomeUnknownError(this.server, 'the call', 'what wrapConnection gave has not said how it ended'),
    );
  }
}
