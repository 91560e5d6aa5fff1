import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Tool } from '@modelcontextprotocol/client';
import type { Progress, ServerInfo } from '../../connection/protocol/messages.js';
import type { CallTrace } from '../../pool/server/calls/trace.js';
import type { PoolOptions } from '../../pool/server/options.js';
import { UnifiedPool } from '../../pool/UnifiedPool.js';
import { FaultPlan, type FaultPlanOptions } from '../../testing/faults/FaultPlan.js';
import { faulty } from '../../testing/faulty.js';
import { listenerOf } from '../sample/processes.js';
import { StartedCommand } from './StartedCommand.js';
import type { TargetSpec } from './TargetSpec.js';

export interface TargetSettings {
  /** Sessions the calls are spread over, each a connection of its own; a process each on stdio. @defaultValue 1 */
  readonly sessions?: number;
  /** Longest call in ms. @defaultValue 60000 */
  readonly timeoutMs?: number;
  /** Faults injected between the load and the target, seeded: what a fault plan takes. @defaultValue none */
  readonly faults?: FaultPlanOptions;
  /** Pool options to try, as a sweep does; the rest are the pool's defaults. @defaultValue none */
  readonly pool?: Partial<PoolOptions>;
}

export interface TargetCall {
  readonly session?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  readonly timeoutMs?: number;
}

const WIDE = 100_000;

/** A server under measurement, called through a `UnifiedPool` of its own with the defaults users get, but for width. */
export class Target implements AsyncDisposable {
  readonly spec: TargetSpec;
  readonly #pool: UnifiedPool;
  readonly #settings: TargetSettings;
  readonly #started: StartedCommand | undefined;
  readonly #faults: FaultPlan | undefined;
  #stopWatching: (() => void) | undefined;

  private constructor(spec: TargetSpec, settings: TargetSettings, started: StartedCommand | undefined) {
    this.spec = spec;
    this.#settings = settings;
    this.#started = started;
    this.#faults = settings.faults === undefined ? undefined : pausedPlan(settings.faults);
    this.#pool = newPool(spec, settings, this.#faults);
  }

  /** Starts what must be started and initialises one session. @throws StartError and others, with one clear line. */
  static async open(spec: TargetSpec, settings: TargetSettings = {}, signal?: AbortSignal): Promise<Target> {
    const url = 'url' in spec.config ? spec.config.url : '';
    const started = spec.start === undefined ? undefined : await StartedCommand.start(spec.start, url, signal);
    const target = new Target(spec, settings, started);
    try {
      const abort = (): void => void target.#pool.close({ graceMs: 0 });
      signal?.addEventListener('abort', abort);
      try {
        if (target.#bound) await target.list({ session: 0 });
        else await target.#pool.startServer(target.#name);
      } finally {
        signal?.removeEventListener('abort', abort);
      }
      return target;
    } catch (error) {
      await target[Symbol.asyncDispose]();
      throw signal?.aborted === true ? signal.reason : error;
    }
  }

  get info(): ServerInfo | undefined {
    return this.#pool.info(this.#name, this.#bound ? { key: 'session 0' } : undefined);
  }

  async list(call: TargetCall = {}): Promise<readonly Tool[]> {
    const { timeoutMs, caller, signal } = this.#options(call);
    const options = { maxTotalTimeoutMs: timeoutMs, ...(caller && { caller }), ...(signal && { signal }) };
    return (await this.#pool.listAll(this.#name, 'tools', options)).items;
  }

  request(method: string, params: Readonly<Record<string, unknown>>, call: TargetCall = {}): Promise<unknown> {
    return this.#pool.request(this.#name, method, params, this.#options(call));
  }

  callTool(tool: string, args: Readonly<Record<string, unknown>>, call: TargetCall = {}): Promise<unknown> {
    return this.request('tools/call', { name: tool, arguments: args }, call);
  }

  /** A session of its own that is opened, called and left: with `churn`, each caller's key is used once. */
  async visit(
    key: string,
    tool: string,
    args: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<unknown> {
    try {
      const caller = { key };
      const params = { name: tool, arguments: args };
      return await this.#pool.request(this.#name, 'tools/call', params, { caller, signal, timeoutMs: this.#timeoutMs });
    } finally {
      await this.#pool.releaseKey(this.#name, key);
    }
  }

  /** Pids that are this side's own: the children on stdio, what listens behind a local URL, and what was started. */
  pids(): readonly number[] {
    const { config } = this.spec;
    if (!('url' in config)) return this.#pool.stats(this.#name).pids;
    const listener = this.#listener ?? listenerOf(config.url);
    this.#listener = listener;
    return [listener, this.#started?.pid].filter((pid) => pid !== undefined);
  }

  #listener: number | undefined;

  /** From now on calls and starts go wrong as the fault plan says. */
  armFaults(): void {
    this.#faults?.resume();
  }

  /** Calls back with each call's wait for a connection in ms, until the target is closed. */
  watchQueue(onWaited: (ms: number) => void): void {
    const since = new WeakMap<object, number>();
    const onTrace = (message: unknown): void => {
      const { phase, call } = message as CallTrace;
      if (phase === 'queue') since.set(call, performance.now());
      const queuedMs = since.get(call);
      if (phase === 'send' && queuedMs !== undefined) onWaited(performance.now() - queuedMs);
    };
    subscribe('mcp-poolkit:call', onTrace);
    this.#stopWatching = () => void unsubscribe('mcp-poolkit:call', onTrace);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopWatching?.();
    await this.#pool.close({ graceMs: 1_000 });
    await this.#started?.[Symbol.asyncDispose]();
  }

  get #name(): string {
    return this.spec.config.name;
  }

  get #bound(): boolean {
    return (this.#settings.sessions ?? 1) > 1 || this.spec.config.sharing === 'bound';
  }

  get #timeoutMs(): number {
    return this.#settings.timeoutMs ?? 60_000;
  }

  #options({ session = 0, signal, onProgress, timeoutMs = this.#timeoutMs }: TargetCall) {
    const sessions = this.#settings.sessions ?? 1;
    return {
      timeoutMs,
      ...(this.#bound && { caller: { key: `session ${session % sessions}` } }),
      ...(signal !== undefined && { signal }),
      ...(onProgress !== undefined && { onProgress }),
    };
  }
}

/** Its faults begin when it is armed: tools are chosen and tried before. */
function pausedPlan(options: FaultPlanOptions): FaultPlan {
  const plan = new FaultPlan(options);
  plan.pause();
  return plan;
}

function newPool(spec: TargetSpec, settings: TargetSettings, plan: FaultPlan | undefined): UnifiedPool {
  const { sessions = 1 } = settings;
  const pool = new UnifiedPool({
    maxConcurrent: WIDE,
    maxQueue: WIDE,
    maxConnections: Math.max(16, sessions),
    maxConnectionsTotal: Math.max(256, sessions),
    acquireTimeoutMs: 60_000,
    // What fails is counted call by call: nothing is refused on behalf of the target.
    breakerThreshold: Number.POSITIVE_INFINITY,
    ...(plan !== undefined && { wrapConnection: (connection) => faulty(connection, plan) }),
    ...settings.pool,
  });
  pool.addServer({ ...spec.config, ...(sessions > 1 && { sharing: 'bound' as const }) });
  return pool;
}
