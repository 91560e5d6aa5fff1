import { messageOf, RpcError, StartError, WireError } from '../core/errors.js';
import { fingerprint } from '../registry/config/fingerprint.js';
import type { ServerConfig } from '../registry/ServerConfig.js';
import type { ServerState, ServerStats } from './McpPool.js';
import type { EraVerdict } from './server/eraStore.js';
import type { ResolvedPoolOptions } from './server/options.js';
import { race } from './server/race.js';
import type { ServerPool } from './server/ServerPool.js';

type UrlWire = 'http' | 'sse';

/**
 * A server at a URL whose wire nobody said. On its first use it is started over Streamable HTTP; if what is there
 * answers and is no such server (a 4xx, or no MCP), over SSE. A refused connection, a refusal of credentials, a 5xx or
 * a silence says nothing about a wire: the start has failed, and the next use tries again.
 */
export class Undecided {
  readonly #config: ServerConfig;
  readonly #pools: Readonly<Record<UrlWire, ServerPool>>;
  readonly #options: ResolvedPoolOptions;
  readonly #onDecided: (pool: ServerPool) => void;
  #deciding: Promise<ServerPool> | undefined;
  #lastError: string | undefined;
  #cancelled: unknown;
  /** The pool it is in by now, decided or being tried. */
  pool: ServerPool | undefined;

  constructor(
    config: ServerConfig,
    pools: Readonly<Record<UrlWire, ServerPool>>,
    options: ResolvedPoolOptions,
    onDecided: (pool: ServerPool) => void,
  ) {
    this.#config = config;
    this.#pools = pools;
    this.#options = options;
    this.#onDecided = onDecided;
  }

  get state(): ServerState {
    if (this.#config.enabled === false) return 'stopped';
    if (this.#deciding !== undefined) return 'starting';
    return this.#lastError === undefined ? 'idle' : 'failed';
  }

  get stats(): ServerStats {
    return { ...NO_STATS, name: this.#config.name, state: this.state, lastError: this.#lastError };
  }

  /** The pool that has it, once it is up there. One try for all who ask. @throws StartError, or the signal's reason */
  decide(signal: AbortSignal | undefined): Promise<ServerPool> {
    this.#deciding ??= this.#decide().finally(() => {
      this.#deciding = undefined;
    });
    const { clock } = this.#options;
    if (signal === undefined) return this.#deciding;
    return race(this.#deciding, { clock, timeoutMs: Number.POSITIVE_INFINITY, late: () => undefined, signal });
  }

  /** It is removed, or the pool closes. */
  cancel(reason: unknown): void {
    this.#cancelled ??= reason;
  }

  async #decide(): Promise<ServerPool> {
    const key = fingerprint(this.#config);
    const known = (await this.#remembered(key))?.transport;
    const order: readonly UrlWire[] = known === 'sse' ? ['sse', 'http'] : ['http', 'sse'];
    const failures: unknown[] = [];
    for (const wire of order) {
      try {
        const pool = await this.#start(wire);
        await this.#remember(key, wire);
        this.#lastError = undefined;
        this.#onDecided(pool);
        return pool;
      } catch (error) {
        this.#lastError = messageOf(error);
        failures.push(error);
        if (this.#cancelled !== undefined) throw this.#cancelled;
        if (!saysOtherWire(error)) throw error;
      }
    }
    const why = failures.map(messageOf).join('; over SSE: ');
    throw new StartError(this.#config.name, `over Streamable HTTP: ${why}`, {}, new AggregateError(failures));
  }

  async #start(wire: UrlWire): Promise<ServerPool> {
    if (this.#cancelled !== undefined) throw this.#cancelled;
    const pool = this.#pools[wire];
    const { name } = this.#config;
    this.pool = pool;
    try {
      await pool.startServer({ ...this.#config, transport: wire } as ServerConfig);
      return pool;
    } catch (error) {
      if (pool.hasServer(name)) await pool.removeServer(name, { graceMs: 0, reason: 'not of this wire' });
      this.pool = undefined;
      throw error;
    }
  }

  async #remembered(key: string): Promise<EraVerdict | undefined> {
    try {
      return await this.#options.eraStore?.get(key);
    } catch (error) {
      this.#options.logger.warn({ error }, 'the era store cannot be read');
      return undefined;
    }
  }

  async #remember(key: string, transport: UrlWire): Promise<void> {
    try {
      await this.#options.eraStore?.set(key, { era: 'legacy', transport, at: this.#options.clock.wallNow() });
    } catch (error) {
      this.#options.logger.warn({ error }, 'the era store cannot be written');
    }
  }
}

/** Whether a failed start shows that something is there which speaks, but not this wire. */
function saysOtherWire(error: unknown): boolean {
  const cause = error instanceof StartError ? error.cause : undefined;
  return cause instanceof WireError || cause instanceof RpcError;
}

const NO_STATS: Omit<ServerStats, 'name' | 'state' | 'lastError'> = Object.freeze({
  calls: 0,
  errors: {},
  inFlight: 0,
  queued: 0,
  connections: 0,
  latencyMs: undefined,
  restarts: 0,
  backoffMs: undefined,
  breaker: 'closed',
  pids: [],
  memoryBytes: undefined,
  unsentBytes: 0,
  lateReplies: 0,
  garbageLines: 0,
  orphanRequests: 0,
  startedAt: undefined,
});
