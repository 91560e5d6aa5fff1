import { RPC_CODES } from '../../../connection/protocol/rpcCodes.js';
import { RequestTimeoutError, RpcError } from '../../../core/errors.js';
import type { ServerContext } from '../context.js';
import type { PooledConnection } from './PooledConnection.js';

/** Pings without an answer, in a row, after which a connection must prove by a list that it lives. */
const MAX_MISSED_PINGS = 2;

/** What a server that knows no `ping`, or ignores it, is asked instead, by what it offers. */
const LISTS = [
  ['tools', 'tools/list'],
  ['prompts', 'prompts/list'],
  ['resources', 'resources/list'],
] as const;

/**
 * Asks idle connections of the legacy era for a `ping` now and then. A connection that answered anything since is left
 * alone: its answers are its pulse. One that ignores `ping` must answer a list before it is ended; if it does, it is
 * asked for that list from then on. One that says it knows no `ping` is not asked again.
 */
export class PingMonitor {
  readonly #context: ServerContext;
  readonly #retire: (pooled: PooledConnection, reason: string) => void;

  constructor(context: ServerContext, retire: (pooled: PooledConnection, reason: string) => void) {
    this.#context = context;
    this.#retire = retire;
  }

  /** Asks, if it is time. */
  check(pooled: PooledConnection, nowMs: number): void {
    const { healthIntervalMs } = this.#context.pool;
    const { connection, pulse } = pooled;
    if (pulse.answers !== pooled.answers) {
      pulse.answers = pooled.answers;
      pulse.missed = 0;
      pulse.dueMs = nowMs + healthIntervalMs;
    } else if (connection.inFlight > 0 || pulse.dueMs === 0) pulse.dueMs = nowMs + healthIntervalMs;
    else if (nowMs >= pulse.dueMs && pulse.method !== undefined && connection.alive) {
      pulse.dueMs = nowMs + healthIntervalMs;
      if (connection.info.era === 'legacy') void this.#ask(pooled, pulse.method);
    }
  }

  async #ask(pooled: PooledConnection, method: string): Promise<void> {
    const { pulse } = pooled;
    const answer = await this.#request(pooled, method);
    if (answer === 'unknown') pulse.method = undefined;
    // Nothing else was answered meanwhile.
    if (answer !== 'none' || pulse.answers !== pooled.answers || ++pulse.missed < MAX_MISSED_PINGS) return;
    const other = method === 'ping' ? listOf(pooled) : undefined;
    if (other !== undefined && (await this.#request(pooled, other)) !== 'none') {
      pulse.method = other;
      return;
    }
    if (pulse.answers !== pooled.answers) return;
    const { config, pool, counters } = this.#context;
    pool.logger.warn({ server: config.name, pid: pooled.connection.pid }, 'ping timed out');
    counters.failedWith('ping timed out');
    this.#retire(pooled, 'ping timed out');
  }

  /** `unknown`: it answered that it knows no such method. */
  async #request({ connection }: PooledConnection, method: string): Promise<'answer' | 'unknown' | 'none' | 'nothing'> {
    const { healthTimeoutMs: timeoutMs } = this.#context.pool;
    try {
      await connection.request(method, undefined, { timeoutMs });
      return 'answer';
    } catch (error) {
      if (error instanceof RpcError) return error.rpcCode === RPC_CODES.methodNotFound ? 'unknown' : 'answer';
      // A failure of another kind is told by the connection itself.
      return error instanceof RequestTimeoutError ? 'none' : 'nothing';
    }
  }
}

/** One that it offers; of a server that offers none, its refusal is asked for. */
function listOf({ connection }: PooledConnection): string {
  const { capabilities } = connection.info;
  return LISTS.find(([offer]) => capabilities?.[offer] !== undefined)?.[1] ?? 'tools/list';
}
