import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { ClusterRateLimiter } from '../../src/concurrent/cluster/ClusterRateLimiter.js';
import { RateLimiter } from '../../src/concurrent/limiter/RateLimiter.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { HTTPClientPool } from '../../src/pool/HTTPClientPool.js';
import type { McpPool } from '../../src/pool/McpPool.js';
import { SSEPool } from '../../src/pool/SSEPool.js';
import { StdioPool } from '../../src/pool/StdioPool.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import type { ServerConfig } from '../../src/registry/config/ServerConfig.js';
import type { History } from '../../src/testing/history/History.js';
import { record } from '../../src/testing/history/record/record.js';
import { recordConnection } from '../../src/testing/history/record/recordConnection.js';
import { recordLimiter } from '../../src/testing/history/record/recordLimiter.js';
import { type ChaosRule, SERVERS, type ServerSpec } from './plan.js';
import { type Restartable, redisServer, stdioArgs, web } from './processes.js';

export type PoolName = 'stdio' | 'http' | 'sse' | 'unified' | 'outer';

const MAX_CONCURRENT = 4;
const WITHIN_MS = 60_000;
/** What the local limiter grants; the storm asks for more at its peaks. */
const RATE = { max: 60, windowMs: 200 };

/** A bound connection that idles out takes its client's session with it: that is no failure, and is kept out of the calm. */
const BOUND_IDLE_MS = 120_000;
const IDLE_MS = 1_500;
/** In front of the gateway every caller is a session: it knows no principals. */
const OUTER = { sharing: 'bound', era: 'legacy', maxConnections: 12 } as const;

const OPTIONS = {
  maxConcurrent: MAX_CONCURRENT,
  maxConnections: 4,
  maxQueue: 64,
  // Long, for busy machines: a waiter that was forgotten waits for all of it.
  acquireTimeoutMs: 40_000,
  startTimeoutMs: 20_000,
  requestTimeoutMs: 2_500,
  backoff: { initialMs: 20, maxMs: 150, jitterRatio: 0.2 },
  stableAfterMs: 300,
  breakerThreshold: 8,
  breakerResetMs: 150,
  healthIntervalMs: 700,
  healthTimeoutMs: 5_000,
  maxHoldMs: 100,
} as const;

type StartRule = Extract<ChaosRule, { kind: 'start' }>;

export interface WorldOptions {
  readonly history: History;
  readonly folder: string;
  /** Stands in the environment of every process. */
  readonly mark: string;
  readonly rules: readonly ChaosRule[];
  /** When what idles ends, in ms. @defaultValue soon, so that it does */
  readonly idleMs?: number;
  /** When a connection of one session alone ends for want of calls, in ms. @defaultValue longer than any round */
  readonly boundIdleMs?: number;
}

/** Four pools, the gateway over one of them and a client's pool in front of it, with every server they call. */
export class World {
  readonly history: History;
  /** The file of what the servers saw and did. */
  readonly events: string;
  readonly redis: Restartable;
  readonly webs = new Map<string, Restartable>();
  /** True while nothing that could fail a call goes on. */
  calm = false;
  readonly #mark: string;
  /** While this file is there, starts go wrong. */
  readonly #storm: string;
  readonly #folder: string;
  readonly #boundIdleMs: number;
  readonly #idleMs: number;
  readonly #starts: ReadonlyMap<string, StartRule>;
  readonly #ports = new Map<string, number>();
  readonly #pools = new Map<PoolName, McpPool>();
  readonly #closing: Promise<unknown>[] = [];
  readonly #limiters: { close(): Promise<void> }[] = [];
  #store: Redis | undefined;
  #gateway: Gateway | undefined;
  #generation = 0;
  #version = 0;

  private constructor(
    { history, folder, mark, rules, idleMs = IDLE_MS, boundIdleMs = BOUND_IDLE_MS }: WorldOptions,
    redis: Restartable,
  ) {
    const starts = rules.filter((rule) => rule.kind === 'start');
    this.history = history;
    this.events = join(folder, 'events.jsonl');
    this.#storm = join(folder, 'storm');
    this.#folder = folder;
    this.#boundIdleMs = boundIdleMs;
    this.#idleMs = idleMs;
    this.#starts = new Map(starts.map((rule) => [rule.server, rule]));
    this.#mark = mark;
    this.redis = redis;
    writeFileSync(this.events, '');
    writeFileSync(this.#storm, '');
  }

  static async open(options: WorldOptions): Promise<World> {
    const world = new World(options, await redisServer(join(options.folder, 'redis')));
    await world.redis.up();
    for (const name of ['web1', 'web2']) {
      const hosted = SERVERS.filter((spec) => spec.web === name);
      const server = await web(
        hosted.map((spec) => `${spec.name}:${spec.kind}`),
        world.env,
      );
      for (const [index, spec] of hosted.entries()) world.#ports.set(spec.name, server.ports[index] ?? 0);
      world.webs.set(name, server);
      await server.up();
    }
    world.#store = new Redis(world.redis.ports[0] ?? 0, '127.0.0.1', { lazyConnect: true, maxRetriesPerRequest: 0 });
    world.#store.on('error', () => undefined);
    for (const name of ['stdio', 'http', 'sse', 'unified', 'outer'] as const) world.#pools.set(name, world.#make(name));
    await world.#openGateway();
    return world;
  }

  get env(): Record<string, string> {
    return { EVENTS: this.events, STORM: this.#storm, CHAOS_MARK: this.#mark };
  }

  /** Through which pool a caller reaches a server. */
  poolOf(spec: ServerSpec): McpPool {
    return this.pool(spec.pool === 'unified' ? 'outer' : spec.pool);
  }

  pool(name: PoolName): McpPool {
    return this.#pools.get(name) as McpPool;
  }

  /** The config of a server as its own pool has it. */
  configOf(spec: ServerSpec): ServerConfig {
    const { name, sharing, era } = spec;
    // As many as there can be sessions: each caller has one at the server's own path and one at the aggregate's, and keeps it.
    const bound = { maxConnections: 32, idleTimeoutMs: this.#boundIdleMs };
    const common = { name, sharing, era, ...(sharing === 'bound' && bound) };
    const version = String(this.#version);
    if (spec.kind === 'stdio') {
      const start = this.#starts.get(name);
      const env = {
        ...this.env,
        VERSION: version,
        ...(start !== undefined && {
          START_FAULT: start.fault,
          START_EVERY: String(start.every),
          PLAN_STATE: join(this.#folder, `${name}.json`),
        }),
      };
      return { ...common, transport: 'stdio', command: process.execPath, args: stdioArgs(name, era), env };
    }
    const url = `http://127.0.0.1:${this.#ports.get(name)}/${spec.kind === 'sse' ? 'sse' : 'mcp'}`;
    const headers = { 'x-version': version };
    return { ...common, transport: spec.kind === 'sse' ? 'sse' : 'http', url, headers };
  }

  /** From here on every start goes well. */
  calmStarts(): void {
    rmSync(this.#storm, { force: true });
  }

  /** The same pool with other settings of its servers: all of them restart. */
  async apply(name: PoolName): Promise<void> {
    this.#version++;
    await this.pool(name).apply(this.#configs(name));
  }

  /** A new pool takes over while the old one finishes what it has. */
  roll(name: 'stdio' | 'http' | 'sse'): void {
    const old = this.pool(name);
    this.#pools.set(name, this.#make(name));
    this.#closing.push(old.close({ graceMs: 1_000 }));
  }

  async rollGateway(): Promise<void> {
    const old = this.#gateway;
    await this.#openGateway();
    if (old !== undefined) this.#closing.push(old.close({ graceMs: 1_000 }));
  }

  /** Closes it all, clients first; what would not close is written down as alive. */
  async close(): Promise<void> {
    const all = [
      async () => this.pool('outer').close({ graceMs: 1_000 }),
      async () => this.#gateway?.close({ graceMs: 1_000 }),
      ...(['stdio', 'http', 'sse', 'unified'] as const).map(
        (name) => async () => this.pool(name).close({ graceMs: 1_000 }),
      ),
      ...this.#limiters.map((limiter) => async () => limiter.close()),
      async () => Promise.all(this.#closing),
    ];
    for (const close of all) {
      await close().catch((error: unknown) => this.history.add({ type: 'alive', what: `a close failed: ${error}` }));
    }
    this.#store?.disconnect();
    await Promise.all([this.redis.down(), ...[...this.webs.values()].map((server) => server.down())]);
  }

  #make(name: PoolName): McpPool {
    const part = `${name}${++this.#generation}`;
    const options = {
      ...OPTIONS,
      idleTimeoutMs: this.#idleMs,
      ...this.#limiterOf(name, part),
      wrapConnection: (connection: Parameters<typeof recordConnection>[0]) =>
        recordConnection(connection, this.history, slotsOf(connection.server)),
    };
    const pools = { stdio: StdioPool, http: HTTPClientPool, sse: SSEPool, unified: UnifiedPool, outer: HTTPClientPool };
    const pool = record<McpPool>(new pools[name](options), this.history, {
      part,
      withinMs: WITHIN_MS,
      expect: () => this.calm,
    });
    pool.on('notification', () => undefined);
    // The gateway asks the clients of its own pool; one that was not asked first is not heard.
    if (name !== 'unified') pool.on('orphanRequest', ({ respond }) => respond(Promise.resolve(ANSWER)));
    for (const config of this.#configs(name)) pool.addServer(config);
    return pool;
  }

  #limiterOf(name: PoolName, part: string): object {
    if (name === 'stdio') {
      const limiter = new RateLimiter({ maxRequests: RATE.max, windowMs: RATE.windowMs, acquireTimeoutMs: 40_000 });
      this.#limiters.push(limiter);
      return { limiter: recordLimiter(limiter, this.history, { limit: `rate of ${part}`, ...RATE }) };
    }
    if (name !== 'http' || this.#store === undefined) return {};
    const limiter = new ClusterRateLimiter({
      redis: this.#store,
      id: this.#mark,
      maxRequests: 400,
      windowMs: 1_000,
      storeTimeoutMs: 500,
      acquireTimeoutMs: 40_000,
      processes: 1,
    });
    this.#limiters.push(limiter);
    return { limiter };
  }

  #configs(name: PoolName): ServerConfig[] {
    if (name !== 'outer') return SERVERS.filter(({ pool }) => pool === name).map((spec) => this.configOf(spec));
    const { url } = this.#address;
    if (url === undefined) return [];
    return [
      ...SERVERS.filter(({ pool }) => pool === 'unified').map((spec): ServerConfig => {
        const { name: server } = spec;
        return { name: server, ...OUTER, transport: 'http', url: `${url}/servers/${server}/mcp` };
      }),
      { name: 'all', ...OUTER, transport: 'http', url: `${url}/mcp` },
    ];
  }

  readonly #address: { url: string | undefined } = { url: undefined };

  async #openGateway(): Promise<void> {
    const bare = new Gateway({ pool: this.pool('unified'), port: 0, sessionIdleMs: 60_000, listTimeoutMs: 3_000 });
    const gateway = record(bare, this.history, { part: `gateway${++this.#generation}`, withinMs: WITHIN_MS });
    const { url } = await gateway.listen();
    this.#gateway = gateway;
    this.#address.url = url;
    await this.pool('outer').apply(this.#configs('outer'));
  }
}

/** What a client answers to sampling. */
export const ANSWER = { role: 'assistant', content: { type: 'text', text: 'yes' }, model: 'none' };

/** How many calls one connection may have at once: one that is leased is one caller's alone. */
function slotsOf(server: string): number {
  return SERVERS.find(({ name }) => name === server)?.sharing === 'leased' ? 1 : MAX_CONCURRENT;
}
