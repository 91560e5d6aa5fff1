import { checkTimes } from '../../../connection/protocol/checkTimes.js';
import type {
  CallOptions,
  Params,
  RequestHandler,
  ServerInfo,
  ServerNotice,
} from '../../../connection/protocol/messages.js';
import { ClosedError, OptionError } from '../../../core/errors.js';
import type { Listener as EventListener } from '../../../core/events.js';
import { checkNames } from '../../../core/options.js';
import type { Caller, ConnectionLease, RequestOptions, TypedRequestOptions } from '../../McpPool.js';
import type { ResultOf } from '../../MethodMap.js';
import { REQUEST_OPTIONS } from '../callOptions.js';
import type { PooledConnection } from '../connections/PooledConnection.js';
import type { CallTracer } from './trace.js';

export interface LeaseHooks {
  /** Who holds the lease: its calls are this caller's, unless they say otherwise. */
  readonly caller: Caller | undefined;
  /** Asks the limiter, and says what the call runs by. */
  readonly prepare: (method: string, params: Params | undefined, options: RequestOptions) => Promise<CallOptions>;
  /** Follows a call, while calls are followed. */
  readonly trace: (method: string, params: Params | undefined, options: RequestOptions) => CallTracer | undefined;
  readonly onFailure: (error: unknown, method: string, params: Params | undefined, options: RequestOptions) => void;
  /** Arms a watch that reports a lease held too long, with the stack that took it. */
  readonly watch: (stack: string | undefined) => Disposable;
}

/** A borrowed connection. What comes on it goes to its listeners while it is held, if it is the holder's alone. */
export class ServerLease implements ConnectionLease {
  readonly server: string;
  readonly #pooled: PooledConnection;
  readonly #hooks: LeaseHooks;
  readonly #notices = new Set<EventListener<ServerNotice>>();
  readonly #control = new AbortController();
  readonly #closed: Disposable;
  readonly #listening: Disposable;
  readonly #watch: Disposable;
  #onRequest: RequestHandler | undefined;
  #released = false;
  #returned = false;
  /** Calls that have not settled. */
  #running = 0;

  constructor(server: string, pooled: PooledConnection, hooks: LeaseHooks) {
    this.server = server;
    this.#pooled = pooled;
    this.#hooks = hooks;
    const { connection, router } = pooled;
    this.#watch = hooks.watch(new Error(`lease of server ${server}`).stack);
    this.#closed = connection.onClose(({ why }) => {
      // There is nothing left of it that could be given back.
      this.#watch[Symbol.dispose]();
      this.#control.abort(new Error(why));
    });
    const self = this;
    this.#listening = router.listen({
      onNotification: (notice) => {
        for (const listener of [...this.#notices]) router.tell(listener, notice);
      },
      get onRequest() {
        return self.#onRequest;
      },
    });
  }

  get info(): ServerInfo {
    return this.#pooled.connection.info;
  }

  get signal(): AbortSignal {
    return this.#control.signal;
  }

  request<M extends string>(method: M, params?: Params, options?: TypedRequestOptions): Promise<ResultOf<M>>;
  request(method: string, params?: Params, options?: RequestOptions): Promise<unknown>;
  async request(method: string, params?: Params, given: RequestOptions = {}): Promise<unknown> {
    this.#assertHeld();
    checkNames('request', given, REQUEST_OPTIONS);
    checkTimes(given);
    const { connection, router } = this.#pooled;
    const { caller } = this.#hooks;
    const options = caller === undefined || given.caller !== undefined ? given : { ...given, caller };
    const listening = options.onNotification ?? options.onRequest;
    const own = listening === undefined ? undefined : router.listen(options);
    this.#running++;
    const trace = this.#hooks.trace(method, params, options);
    try {
      const call = await this.#hooks.prepare(method, params, options);
      // Made before a release, it may still run.
      if (this.#revoked) throw new ClosedError(`lease of server ${this.server}`);
      trace?.sent(this.#pooled);
      const result = await connection.request(method, params, trace?.metered(call) ?? call);
      trace?.answered(result);
      return result;
    } catch (error) {
      trace?.failed(error);
      this.#hooks.onFailure(error, method, params, options);
      throw error;
    } finally {
      own?.[Symbol.dispose]();
      this.#running--;
      this.#giveBack();
    }
  }

  async notify(method: string, params?: Params): Promise<void> {
    this.#assertHeld();
    const { caller } = this.#hooks;
    await this.#pooled.connection.notify(method, params, caller && { caller });
  }

  on(event: 'notification', listener: EventListener<ServerNotice>): Disposable;
  on(event: 'request', listener: RequestHandler): Disposable;
  on(event: 'notification' | 'request', listener: EventListener<ServerNotice> | RequestHandler): Disposable {
    if (event === 'notification') {
      const taken = listener as EventListener<ServerNotice>;
      this.#notices.add(taken);
      return { [Symbol.dispose]: () => void this.#notices.delete(taken) };
    }
    if (event !== 'request') throw new OptionError('event', event, "'notification' or 'request'");
    if (this.#onRequest !== undefined) throw new OptionError('event', event, 'one listener: an answer is given once');
    this.#onRequest = listener as RequestHandler;
    return {
      [Symbol.dispose]: () => {
        if (this.#onRequest === listener) this.#onRequest = undefined;
      },
    };
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#watch[Symbol.dispose]();
    this.#giveBack();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
  }

  /** Not before its calls have settled: what still comes for them must not reach the next holder. */
  #giveBack(): void {
    if (!this.#released || this.#running > 0 || this.#returned) return;
    this.#returned = true;
    this.#closed[Symbol.dispose]();
    this.#listening[Symbol.dispose]();
    this.#pooled.holder?.release(this.#pooled);
  }

  /** Whether our side ended the connection under it. */
  get #revoked(): boolean {
    return this.#pooled.leaving !== undefined && !this.#pooled.connection.alive && !this.#pooled.died;
  }

  #assertHeld(): void {
    if (this.#released || this.#revoked) throw new ClosedError(`lease of server ${this.server}`);
  }
}
