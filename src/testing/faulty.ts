import type { Connection, DisconnectReason, NotifyOptions } from '../connection/Connection.js';
import type { ChannelCounters } from '../connection/channel/Channel.js';
import type { CallOptions, Params, RequestHandler, ServerInfo, ServerNotice } from '../connection/protocol/messages.js';
import { type Clock, systemClock } from '../core/clock.js';
import type { CloseOptions } from '../core/close/CloseScope.js';
import {
  NotSentError,
  OutcomeUnknownError,
  ProtocolError,
  RequestTimeoutError,
  RpcError,
  StartError,
} from '../core/errors.js';
import { checkMs, withDefaults } from '../core/options.js';
import { sleep } from '../core/time/sleep.js';
import type { FaultPlan } from './FaultPlan.js';

export interface FaultyOptions {
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
  /** What a call without `timeoutMs` gets whose answer is lost, in ms. @defaultValue 60000 */
  readonly timeoutMs?: number;
}

/**
 * A connection whose calls go wrong as `plan` says, in front of one that works. Give it to a pool by its
 * `wrapConnection` option. @throws StartError when the plan refuses the start; the connection is closed then.
 */
export async function faulty(
  connection: Connection,
  plan: FaultPlan,
  options: FaultyOptions = {},
): Promise<Connection> {
  const { timeoutMs } = withDefaults('faulty', options, { timeoutMs: 60_000 }, { clock: true });
  checkMs('timeoutMs', timeoutMs, { infinity: true });
  if (!plan.nextStart()) return new FaultyConnection(connection, plan, options);
  await connection.close({ graceMs: 0 });
  throw new StartError(connection.server, 'the fault plan refused it');
}

class FaultyConnection implements Connection {
  readonly #inner: Connection;
  readonly #plan: FaultPlan;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #deathListeners = new Set<(death: DisconnectReason) => void>();
  readonly #lost = new Set<(error: unknown) => void>();
  #death: DisconnectReason | undefined;
  #late = 0;

  constructor(inner: Connection, plan: FaultPlan, { clock = systemClock, timeoutMs = 60_000 }: FaultyOptions) {
    this.#inner = inner;
    this.#plan = plan;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    inner.onClose((death) => this.#die(death));
  }

  get server(): string {
    return this.#inner.server;
  }
  get info(): ServerInfo {
    return this.#inner.info;
  }
  get pid(): number | undefined {
    return this.#inner.pid;
  }
  get alive(): boolean {
    return this.#death === undefined && this.#inner.alive;
  }
  get startedAt(): number {
    return this.#inner.startedAt;
  }
  get counters(): Readonly<ChannelCounters> {
    return { ...this.#inner.counters, lateReplies: this.#inner.counters.lateReplies + this.#late };
  }
  get inFlight(): number {
    return this.#inner.inFlight + this.#lost.size;
  }
  get unsentBytes(): number {
    return this.#inner.unsentBytes;
  }

  async request(method: string, params: Params | undefined, options: CallOptions): Promise<unknown> {
    const { server } = this.#inner;
    if (this.#death !== undefined) throw new NotSentError(server, this.#death.why);
    const send = (): Promise<unknown> => this.#inner.request(method, params, options);
    switch (this.#plan.nextCall()) {
      case undefined:
        return send();
      case 'delay':
        await sleep(this.#clock, this.#plan.delayMs);
        return send();
      case 'duplicate': {
        const result = await send();
        this.#late++;
        return result;
      }
      case 'error':
        throw new RpcError(server, -32603, 'the fault plan failed it');
      case 'drop':
        return this.#unanswered(method, options);
      case 'hang':
        send().catch((error: unknown) => error);
        return this.#unanswered(method, options);
      case 'garbage':
        await send();
        throw new ProtocolError(server, 'its answer is no message');
      case 'truncate':
        await send();
        throw this.#crash(method, 'the wire died in the middle of the answer');
      case 'crash':
        send().catch((error: unknown) => error);
        throw this.#crash(method, 'the wire died with the call in flight');
    }
  }

  notify(method: string, params?: Params, options?: NotifyOptions): Promise<void> {
    return this.#inner.notify(method, params, options);
  }

  get listen(): Connection['listen'] {
    return this.#inner.listen?.bind(this.#inner);
  }

  onClose(listener: (death: DisconnectReason) => void): Disposable {
    if (this.#death !== undefined) listener(this.#death);
    else this.#deathListeners.add(listener);
    return { [Symbol.dispose]: () => void this.#deathListeners.delete(listener) };
  }

  onNotification(listener: (notice: ServerNotice) => void): Disposable {
    return this.#inner.onNotification(listener);
  }

  setRequestHandler(handler: RequestHandler | undefined): void {
    this.#inner.setRequestHandler(handler);
  }

  close(options?: CloseOptions): Promise<void> {
    for (const fail of [...this.#lost])
      fail(new OutcomeUnknownError(this.server, 'a lost call', 'the connection was closed'));
    return this.#inner.close(options);
  }

  /** As a call whose answer never comes: until its timeout, its signal, or the death of the wire. */
  #unanswered(method: string, { signal, timeoutMs = this.#timeoutMs }: CallOptions): Promise<never> {
    return new Promise((_, reject) => {
      const fail = (error: unknown): void => {
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
        this.#lost.delete(fail);
        reject(error);
      };
      const onAbort = (): void => fail(signal?.reason);
      const timedOut = (): void => fail(new RequestTimeoutError(this.server, method, timeoutMs));
      const timer = this.#clock.setTimer(timedOut, timeoutMs, { ref: true });
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#lost.add(fail);
      if (signal?.aborted === true) onAbort();
    });
  }

  #crash(method: string, why: string): OutcomeUnknownError {
    this.#die({ expected: false, why });
    return new OutcomeUnknownError(this.server, method, why);
  }

  #die(death: DisconnectReason): void {
    if (this.#death !== undefined) return;
    this.#death = death;
    for (const fail of [...this.#lost]) fail(new OutcomeUnknownError(this.server, 'a lost call', death.why));
    const listeners = [...this.#deathListeners];
    this.#deathListeners.clear();
    for (const listener of listeners) listener(death);
  }
}
