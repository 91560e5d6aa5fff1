import type { CloseOptions } from '../../core/close/CloseScope.js';
import {
  AcquireTimeoutError,
  CircuitOpenError,
  ForbiddenError,
  messageOf,
  ProtocolError,
  RpcError,
  ServerStoppedError,
  StartError,
  UnauthorizedError,
} from '../../core/errors.js';
import { fingerprint } from '../../registry/config/fingerprint.js';
import type { ServerConfig } from '../../registry/config/ServerConfig.js';
import type { Caller, ServerState, ServerStats } from '../McpPool.js';
import { type EraVerdict, withStore } from '../server/callers/eraStore.js';
import { race } from '../server/calls/race.js';
import type { ResolvedPoolOptions } from '../server/options.js';
import { backoff } from '../server/partitions/partitionState.js';
import type { ServerPool } from '../server/ServerPool.js';
import { noStats } from './noStats.js';

type UrlTransport = 'http' | 'sse';

export interface UndecidedOptions {
  readonly pools: Readonly<Record<UrlTransport, ServerPool>>;
  readonly pool: ResolvedPoolOptions;
  /** It is up in that pool, which has it from here on. */
  readonly onDecided: (pool: ServerPool) => void;
  readonly onState: (state: ServerState, previous: ServerState) => void;
}

/** One try of finding out. */
interface Trying {
  readonly principal: string | undefined;
  readonly control: AbortController;
  readonly found: Promise<ServerPool>;
  /** Where it is being tried; its server there is this try's. */
  trial: ServerPool | undefined;
  /** Settles when a trial that failed is gone. */
  leaving: Promise<void> | undefined;
}

const NAMES: Readonly<Record<UrlTransport, string>> = { http: 'Streamable HTTP', sse: 'SSE' };

/**
 * A server at a URL whose wire nobody said. On its first use it is started over Streamable HTTP; if what is there
 * answers and is no such server (a 4xx, or no MCP), over SSE. A refused connection, a refusal of credentials, a 5xx or
 * a silence says nothing about a wire: the start has failed, and after a pause the next use tries again.
 */
export class Undecided {
  readonly fingerprint: string;
  readonly config: ServerConfig;
  readonly #options: UndecidedOptions;
  readonly #backoffMs: (attempt: number) => number;
  #stopped: boolean;
  #trying: Trying | undefined;
  #lastError: unknown;
  #failures = 0;
  /** Clock ms until which no use tries again. */
  #untilMs = 0;
  #ended: unknown;
  #shown: ServerState;

  constructor(config: ServerConfig, options: UndecidedOptions) {
    this.fingerprint = fingerprint(config);
    this.config = config;
    this.#options = options;
    this.#backoffMs = backoff(options.pool.backoff);
    this.#stopped = config.enabled === false;
    this.#shown = this.state;
  }

  get state(): ServerState {
    if (this.#stopped || this.#ended !== undefined) return 'stopped';
    if (this.#trying !== undefined) return 'starting';
    return this.#lastError === undefined ? 'idle' : 'failed';
  }

  get stats(): ServerStats {
    const lastError = this.#lastError === undefined ? undefined : messageOf(this.#lastError);
    const backoffMs = this.#pauseMs > 0 ? this.#pauseMs : undefined;
    return noStats({ name: this.config.name, state: this.state, lastError, backoffMs });
  }

  /**
   * The pool that has it, once it is up there. One try for all who ask, made for the first of them; who is of another
   * principal does not suffer from the refusal of that one's credentials.
   * @throws StartError, UnauthorizedError, ForbiddenError, CircuitOpenError, ServerStoppedError, AcquireTimeoutError,
   *   or the signal's reason
   */
  async decide(
    caller: Caller | undefined,
    { signal, timeoutMs }: { readonly signal?: AbortSignal | undefined; readonly timeoutMs: number },
  ): Promise<ServerPool> {
    const { clock } = this.#options.pool;
    const untilMs = clock.now() + timeoutMs;
    for (;;) {
      signal?.throwIfAborted();
      if (this.#ended !== undefined) throw this.#ended;
      if (this.#stopped) throw new ServerStoppedError(this.config.name);
      if (this.#trying === undefined && this.#pauseMs > 0) {
        throw new CircuitOpenError(this.config.name, this.#pauseMs, this.#lastError);
      }
      const trying = this.#trying ?? this.#try(caller);
      const late = (): unknown => {
        const detail = { live: 0, creating: 1, dying: 0, slots: 0, inUse: 0, waiting: 1 };
        return new AcquireTimeoutError(`server ${this.config.name}`, timeoutMs, detail);
      };
      try {
        return await race(trying.found, { clock, timeoutMs: Math.max(0, untilMs - clock.now()), late, signal });
      } catch (error) {
        if (!isRefusal(error) || trying.principal === caller?.principal) throw error;
      }
    }
  }

  /** Runs again after a stop, and is up. @throws what `decide` does */
  async start(): Promise<ServerPool> {
    this.#stopped = false;
    this.#failures = 0;
    this.#untilMs = 0;
    this.#show();
    return this.decide(undefined, { timeoutMs: Number.POSITIVE_INFINITY });
  }

  /** Resolves when nothing of a try is left; uses are refused until `start`. */
  async stop(options?: CloseOptions): Promise<void> {
    this.#stopped = true;
    await this.#abandon(new ServerStoppedError(this.config.name), options);
  }

  /** It is removed, or the pool closes: who waits is told `reason` at once. Resolves when nothing of it is left. */
  async end(reason: unknown, options?: CloseOptions): Promise<void> {
    this.#ended ??= reason;
    await this.#abandon(reason, options);
  }

  get #pauseMs(): number {
    return Math.max(0, this.#untilMs - this.#options.pool.clock.now());
  }

  async #abandon(reason: unknown, options: CloseOptions | undefined): Promise<void> {
    const trying = this.#trying;
    this.#trying = undefined;
    const trial = trying?.trial;
    if (trying !== undefined) trying.trial = undefined;
    trying?.control.abort(reason);
    // At once, so that the name is free; what was begun there fails by it.
    const removed = trial?.removeServer(this.config.name, options);
    this.#show();
    await Promise.all([removed, trying?.leaving]);
  }

  #try(caller: Caller | undefined): Trying {
    const control = new AbortController();
    const { clock } = this.#options.pool;
    // The try begins in a later turn: by then it stands in `#trying`.
    const search = Promise.resolve().then(() => this.#search(trying, caller));
    const found = race(search, {
      clock,
      timeoutMs: Number.POSITIVE_INFINITY,
      late: () => undefined,
      signal: control.signal,
    });
    // Those who asked may have left.
    found.catch(() => undefined);
    const trying: Trying = { principal: caller?.principal, control, found, trial: undefined, leaving: undefined };
    this.#trying = trying;
    this.#show();
    return trying;
  }

  async #search(trying: Trying, caller: Caller | undefined): Promise<ServerPool> {
    const { signal } = trying.control;
    const failures: { readonly wire: UrlTransport; readonly error: unknown }[] = [];
    try {
      const order: readonly UrlTransport[] =
        (await this.#remembered(signal)) === 'sse' ? ['sse', 'http'] : ['http', 'sse'];
      for (const wire of order) {
        signal.throwIfAborted();
        try {
          const pool = await this.#start(wire, trying, caller);
          this.#trying = undefined;
          const found = { era: 'legacy', transport: wire, at: this.#options.pool.clock.wallNow() } as const;
          void withStore(this.#options.pool, 'written', (store) => store.set(this.fingerprint, found));
          this.#options.onDecided(pool);
          this.#options.onState(pool.state(this.config.name), this.#shown);
          return pool;
        } catch (error) {
          signal.throwIfAborted();
          failures.push({ wire, error });
          if (!saysOtherTransport(error)) throw error;
        }
      }
      const why = failures.map(({ wire, error }) => `over ${NAMES[wire]}: ${messageOf(error)}`).join('; ');
      throw new StartError(this.config.name, why, {}, new AggregateError(failures.map(({ error }) => error)));
    } catch (error) {
      signal.throwIfAborted();
      this.#failed(error);
      throw error;
    }
  }

  /** @throws what the start failed with, when nothing is left of it */
  async #start(wire: UrlTransport, trying: Trying, caller: Caller | undefined): Promise<ServerPool> {
    const { signal } = trying.control;
    const { name } = this.config;
    const pool = this.#options.pools[wire];
    const config = { ...this.config, transport: wire } as ServerConfig;
    pool.addServer(config);
    trying.trial = pool;
    try {
      if (caller?.principal === undefined && caller?.key === undefined) await pool.startServer(name);
      else {
        // What it needs may be known for this caller only. Capabilities are left out: they say nothing about a wire.
        const { capabilities: _, ...asker } = caller;
        if (config.enabled === false) await pool.startServer(name);
        else (await pool.lease(name, { caller: asker, signal })).release();
      }
      signal.throwIfAborted();
      trying.trial = undefined;
      return pool;
    } catch (error) {
      // Whoever abandons a try removes its server, too.
      signal.throwIfAborted();
      trying.trial = undefined;
      trying.leaving = pool.removeServer(name, { graceMs: 0, reason: `it did not start over ${NAMES[wire]}` });
      await trying.leaving;
      throw error;
    }
  }

  #failed(error: unknown): void {
    this.#trying = undefined;
    this.#lastError = error;
    // Another caller's credentials may do.
    if (!isRefusal(error)) {
      this.#failures++;
      this.#untilMs = this.#options.pool.clock.now() + this.#backoffMs(this.#failures);
    }
    this.#show();
  }

  #show(): void {
    const { state } = this;
    if (state === this.#shown) return;
    const previous = this.#shown;
    this.#shown = state;
    this.#options.onState(state, previous);
  }

  async #remembered(signal: AbortSignal): Promise<EraVerdict['transport']> {
    const { clock, startTimeoutMs: timeoutMs, logger } = this.#options.pool;
    // A store of somebody else's must not hold a start up for ever.
    const late = (): unknown => logger.warn({ timeoutMs }, 'the era store did not answer');
    const verdict = withStore(this.#options.pool, 'read', (store) => store.get(this.fingerprint));
    const known = await race(verdict, { clock, timeoutMs, late, signal }).catch(() => undefined);
    return known?.transport;
  }
}

/** Whether a failed start shows that something is there which speaks, but not this wire. */
function saysOtherTransport(error: unknown): boolean {
  const cause = error instanceof StartError ? error.cause : undefined;
  return cause instanceof ProtocolError || cause instanceof RpcError;
}

/** Whether what failed were somebody's credentials. `startServer` tells it as the cause. */
function isRefusal(error: unknown): boolean {
  const cause = error instanceof StartError ? error.cause : error;
  return cause instanceof UnauthorizedError || cause instanceof ForbiddenError;
}
