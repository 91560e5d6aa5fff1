import type { ClientCapabilities, Implementation } from '@modelcontextprotocol/client';
import { ADAPTIVE_LIMIT_DEFAULTS } from '../../concurrent/balance/AdaptiveLimit.js';
import type { LimiterSource } from '../../concurrent/limiter/Limiter.js';
import type { Connection } from '../../connection/Connection.js';
import { type Clock, systemClock } from '../../core/clock.js';
import type { EraStore } from '../../core/era/EraStore.js';
import { limitedLogger } from '../../core/limitedLogger.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import {
  checkBoolean,
  checkBytes,
  checkClock,
  checkCount,
  checkFunction,
  checkGiven,
  checkLogger,
  checkMs,
  checkNames,
  checkOneOf,
  checkOptions,
  checkPart,
  checkRatio,
  checkRecord,
  type Names,
} from '../../core/options.js';
import type { BackoffOptions } from '../../core/time/backoff.js';
import { packageVersion } from '../../core/version.js';
import type { Era, ServerConfig, Sharing } from '../../registry/config/ServerConfig.js';
import type { CredentialsHook } from './callers/Credentials.js';

/** What every server pool takes: defaults for its servers, bounds over all of them, and what it is lent. */
export interface PoolOptions {
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
  /** Where the pool logs. @defaultValue nowhere */
  readonly logger?: Logger;
  /** Who we say we are to servers. @defaultValue this package's name and version */
  readonly clientInfo?: Implementation;
  /** What this side can do for servers that do not set it themselves. Not with `sharing: 'shared'` on stdio and SSE. @defaultValue none */
  readonly clientCapabilities?: ClientCapabilities;
  /** Connections of one server at most, over all principals and keys, from 1. @defaultValue 16 */
  readonly maxConnections?: number;
  /** Connections of the whole pool at most, from 1. @defaultValue 256 */
  readonly maxConnectionsTotal?: number;
  /**
   * Calls in flight on one shared or bound connection, from 1; `auto`: as many over all connections of a server, or target, as it is
   * found to take at a time (`AdaptiveLimit`).
   * @defaultValue 64
   */
  readonly maxConcurrent?: number | 'auto';
  /**
   * Callers waiting for one partition of a server, from 0; 0 refuses every call that would have to wait. Those without a principal take turns by
   * `caller.origin`, and one origin has three quarters of the places at most. @defaultValue 1024
   */
  readonly maxQueue?: number;
  /** Bytes of one message, each way, from 1024 (what a server says unasked: 8 MiB at most); twice that may wait for a server that does not read. @defaultValue 67108864 */
  readonly maxMessageBytes?: number;
  /** Longest wait for a slot, in ms, from 1; `Infinity` without end. @defaultValue 30000 */
  readonly acquireTimeoutMs?: number;
  /** Longest start, handshake included, in ms, from 1; `Infinity` without end. @defaultValue 30000 */
  readonly startTimeoutMs?: number;
  /** Longest call from its send, in ms, from 1; `Infinity` without end. @defaultValue 60000 */
  readonly requestTimeoutMs?: number;
  /** Longest call whatever progress comes, in ms, from 1; `Infinity` without end. @defaultValue 600000 */
  readonly maxTotalTimeoutMs?: number;
  /** A connection without calls ends after this many ms, from 1; the next call starts it again. `Infinity` never. @defaultValue 300000 */
  readonly idleTimeoutMs?: number;
  /**
   * Pause before a start that follows a failed one or an early exit: doubles from `initialMs` to `maxMs`, both in ms from 1, and is longer or
   * shorter by a random share of up to `jitterRatio`, from 0 to 1.
   * @defaultValue `{ initialMs: 250, maxMs: 30000, jitterRatio: 0.2 }`
   */
  readonly backoff?: { readonly initialMs?: number; readonly maxMs?: number; readonly jitterRatio?: number };
  /** A connection that lived this long, in ms from 0, was stable: its end starts no backoff. 0: each was. @defaultValue 10000 */
  readonly stableAfterMs?: number;
  /** Consecutive failed calls that open the breaker, from 1; `Infinity` never. @defaultValue 10 */
  readonly breakerThreshold?: number;
  /** How long it stays open before one call may try, in ms, from 1. @defaultValue 10000 */
  readonly breakerResetMs?: number;
  /** Whether a call's timeout counts as a failure to the breaker. @defaultValue false */
  readonly breakerCountsTimeouts?: boolean;
  /** What a breaker is for: the whole server, or each principal or tool by itself. @defaultValue 'server' */
  readonly breakerScope?: 'server' | 'principal' | 'tool';
  /** An idle connection is asked to `ping` after this many ms of silence, from 1; `Infinity` never. @defaultValue 30000 */
  readonly healthIntervalMs?: number;
  /** How long a `ping` may take, in ms, from 1; `Infinity` without end. @defaultValue 5000 */
  readonly healthTimeoutMs?: number;
  /** With more principals than connections: how long one may keep a connection that others wait for, in ms, from 0. @defaultValue 1000 */
  readonly maxHoldMs?: number;
  /** A lease held longer than this, in ms, from 1, is reported; `Infinity` never. @defaultValue 120000 */
  readonly leakThresholdMs?: number;
  /** What a server needs to act for a principal. Asked once at a time per server and principal. @defaultValue none: servers get what their config says */
  readonly credentials?: CredentialsHook;
  /** Remembers which era a server speaks. @defaultValue none: each pool finds out anew */
  readonly eraStore?: EraStore;
  /** Stands in front of every new connection: for fault injection (`faulty`) and for tracing. @defaultValue none */
  readonly wrapConnection?: (connection: Connection) => Connection | Promise<Connection>;
  /**
   * Asked for a permit before a call takes a slot: any limiter of `mcp-poolkit/concurrent`, or your own choice by call.
   * The wait counts against `deadlineMs`, not `timeoutMs`; a 429 pauses that server's calls. The pool does not close it.
   * @defaultValue none
   */
  readonly limiter?: LimiterSource;
}

/** The defaults of every server pool. */
export const POOL_DEFAULTS = Object.freeze({
  maxConnections: 16,
  maxConnectionsTotal: 256,
  maxConcurrent: 64,
  maxQueue: 1_024,
  maxMessageBytes: 64 * 1024 * 1024,
  acquireTimeoutMs: 30_000,
  startTimeoutMs: 30_000,
  requestTimeoutMs: 60_000,
  maxTotalTimeoutMs: 600_000,
  idleTimeoutMs: 300_000,
  backoff: Object.freeze({ initialMs: 250, maxMs: 30_000, jitterRatio: 0.2 }),
  stableAfterMs: 10_000,
  breakerThreshold: 10,
  breakerResetMs: 10_000,
  breakerCountsTimeouts: false,
  breakerScope: 'server' as const,
  healthIntervalMs: 30_000,
  healthTimeoutMs: 5_000,
  maxHoldMs: 1_000,
  leakThresholdMs: 120_000,
});

/** Options with every default filled in and every value checked. */
export interface ResolvedPoolOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly clientInfo: Implementation;
  readonly clientCapabilities: ClientCapabilities;
  readonly maxConnections: number;
  readonly maxConnectionsTotal: number;
  readonly maxConcurrent: number | 'auto';
  readonly maxQueue: number;
  readonly maxMessageBytes: number;
  readonly acquireTimeoutMs: number;
  readonly startTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly maxTotalTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly backoff: { readonly initialMs: number; readonly maxMs: number; readonly jitterRatio: number };
  readonly stableAfterMs: number;
  readonly breakerThreshold: number;
  readonly breakerResetMs: number;
  readonly breakerCountsTimeouts: boolean;
  readonly breakerScope: 'server' | 'principal' | 'tool';
  readonly healthIntervalMs: number;
  readonly healthTimeoutMs: number;
  readonly maxHoldMs: number;
  readonly leakThresholdMs: number;
  readonly credentials: CredentialsHook | undefined;
  readonly eraStore: EraStore | undefined;
  readonly wrapConnection: ((connection: Connection) => Connection | Promise<Connection>) | undefined;
  readonly limiter: LimiterSource | undefined;
}

const COUNT = { min: 1, infinity: true };
const WAIT = { min: 1, infinity: true };

/** The names of the options that every pool takes; the compiler keeps the list complete. */
const POOL_OPTION_NAMES: { readonly [K in keyof Required<PoolOptions>]: true } = {
  ...(Object.fromEntries(Object.keys(POOL_DEFAULTS).map((name) => [name, true])) as {
    readonly [K in keyof typeof POOL_DEFAULTS]: true;
  }),
  clock: true,
  logger: true,
  clientInfo: true,
  clientCapabilities: true,
  credentials: true,
  eraStore: true,
  wrapConnection: true,
  limiter: true,
};

const BACKOFF_NAMES: Names<BackoffOptions> = { initialMs: true, maxMs: true, jitterRatio: true };

/** `options` as they are. @throws OptionError for a bad value, or a name that neither every pool nor `more` has, with the nearest. */
export function knownOptions<O extends PoolOptions>(part: string, options: O, more: Readonly<Record<string, true>>): O {
  checkNames(part, options, { ...POOL_OPTION_NAMES, ...more });
  checkNames(`${part}.backoff`, options.backoff ?? {}, BACKOFF_NAMES);
  resolvePoolOptions(options);
  return options;
}

/** @throws OptionError naming the first bad value. */
export function resolvePoolOptions(options: PoolOptions): ResolvedPoolOptions {
  const all = { ...POOL_DEFAULTS, ...defined(options) };
  const clock = options.clock === undefined ? systemClock : checkClock('clock', options.clock);
  const backoff = { ...POOL_DEFAULTS.backoff, ...defined(options.backoff ?? {}) };
  return {
    clock,
    logger: limitedLogger(checkLogger('logger', options.logger ?? silentLogger), () => clock.now()),
    clientInfo: checkOptions('clientInfo', options.clientInfo ?? { name: 'mcp-poolkit', version: packageVersion() }),
    clientCapabilities: checkRecord('clientCapabilities', options.clientCapabilities ?? {}),
    maxConnections: checkCount('maxConnections', all.maxConnections, { min: 1 }),
    maxConnectionsTotal: checkCount('maxConnectionsTotal', all.maxConnectionsTotal, { min: 1 }),
    maxConcurrent: all.maxConcurrent === 'auto' ? 'auto' : checkCount('maxConcurrent', all.maxConcurrent, { min: 1 }),
    maxQueue: checkCount('maxQueue', all.maxQueue, {}),
    maxMessageBytes: checkBytes('maxMessageBytes', all.maxMessageBytes, { min: 1_024 }),
    acquireTimeoutMs: checkMs('acquireTimeoutMs', all.acquireTimeoutMs, WAIT),
    startTimeoutMs: checkMs('startTimeoutMs', all.startTimeoutMs, WAIT),
    requestTimeoutMs: checkMs('requestTimeoutMs', all.requestTimeoutMs, WAIT),
    maxTotalTimeoutMs: checkMs('maxTotalTimeoutMs', all.maxTotalTimeoutMs, WAIT),
    idleTimeoutMs: checkMs('idleTimeoutMs', all.idleTimeoutMs, WAIT),
    backoff: {
      initialMs: checkMs('backoff.initialMs', backoff.initialMs, { min: 1 }),
      maxMs: checkMs('backoff.maxMs', backoff.maxMs, { min: 1 }),
      jitterRatio: checkRatio('backoff.jitterRatio', backoff.jitterRatio),
    },
    stableAfterMs: checkMs('stableAfterMs', all.stableAfterMs, {}),
    breakerThreshold: checkCount('breakerThreshold', all.breakerThreshold, COUNT),
    breakerResetMs: checkMs('breakerResetMs', all.breakerResetMs, { min: 1 }),
    breakerCountsTimeouts: checkBoolean('breakerCountsTimeouts', all.breakerCountsTimeouts),
    breakerScope: checkOneOf('breakerScope', all.breakerScope, ['server', 'principal', 'tool']),
    healthIntervalMs: checkMs('healthIntervalMs', all.healthIntervalMs, WAIT),
    healthTimeoutMs: checkMs('healthTimeoutMs', all.healthTimeoutMs, WAIT),
    maxHoldMs: checkMs('maxHoldMs', all.maxHoldMs, {}),
    leakThresholdMs: checkMs('leakThresholdMs', all.leakThresholdMs, WAIT),
    credentials: checkGiven(options.credentials, (hook) => checkFunction('credentials', hook)),
    eraStore: checkGiven(options.eraStore, (store) =>
      checkPart('eraStore', store, ['get', 'set', 'delete'], 'an EraStore'),
    ),
    wrapConnection: checkGiven(options.wrapConnection, (hook) => checkFunction('wrapConnection', hook)),
    limiter: checkGiven(options.limiter, (limiter) =>
      checkPart('limiter', limiter, ['for'], 'a limiter, or an object with for(call)'),
    ),
  };
}

/** What one server runs by: its own settings over its pool's. */
export interface ServerOptions {
  readonly sharing: Sharing;
  readonly era: Era | 'auto';
  /** Whether a caller's era is heeded: the config names none. */
  readonly eraFollows: boolean;
  readonly clientCapabilities: ClientCapabilities;
  readonly warmSpares: number;
  readonly maxConnections: number;
  readonly maxConcurrent: number;
  /** Whether an adaptive limit stands before all its connections; `maxConcurrent` is then what one may have at most. */
  readonly adaptive: boolean;
  readonly maxQueue: number;
  readonly maxMessageBytes: number;
  readonly acquireTimeoutMs: number;
  readonly startTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly timeoutMs: number;
  readonly timeoutsByTool: ReadonlyMap<string, number>;
}

/** @throws OptionError naming server and option. */
export function resolveServerOptions(config: ServerConfig, pool: ResolvedPoolOptions): ServerOptions {
  const option = (name: string): string => `servers.${config.name}.${name}`;
  const maxConcurrent = config.maxConcurrent ?? pool.maxConcurrent;
  const adaptive = maxConcurrent === 'auto';
  const maxConnections = checkCount(option('maxConnections'), config.maxConnections ?? pool.maxConnections, { min: 1 });
  return {
    sharing: config.sharing ?? 'shared',
    eraFollows: config.transport !== 'sse' && (config.era === undefined || config.era === 'auto'),
    era: config.era ?? (config.transport === 'stdio' || config.transport === 'sse' ? 'legacy' : 'auto'),
    clientCapabilities: config.clientCapabilities ?? pool.clientCapabilities,
    warmSpares: checkCount(option('warmSpares'), config.warmSpares ?? 0, { max: maxConnections }),
    maxConnections,
    adaptive,
    maxConcurrent: checkCount(option('maxConcurrent'), adaptive ? ADAPTIVE_LIMIT_DEFAULTS.maxLimit : maxConcurrent, {
      min: 1,
    }),
    maxQueue: checkCount(option('maxQueue'), config.maxQueue ?? pool.maxQueue, {}),
    maxMessageBytes: checkBytes(option('maxMessageBytes'), config.maxMessageBytes ?? pool.maxMessageBytes, {
      min: 1_024,
    }),
    acquireTimeoutMs: checkMs(option('acquireTimeoutMs'), config.acquireTimeoutMs ?? pool.acquireTimeoutMs, WAIT),
    startTimeoutMs: checkMs(option('startTimeoutMs'), config.startTimeoutMs ?? pool.startTimeoutMs, WAIT),
    idleTimeoutMs: checkMs(option('idleTimeoutMs'), config.idleTimeoutMs ?? pool.idleTimeoutMs, WAIT),
    timeoutMs: checkMs(option('timeouts.default'), config.timeouts?.default ?? pool.requestTimeoutMs, WAIT),
    timeoutsByTool: new Map(
      Object.entries(config.timeouts?.byTool ?? {}).map(([tool, ms]) => [
        tool,
        checkMs(option(`timeouts.byTool.${tool}`), ms, WAIT),
      ]),
    ),
  };
}

/** Without the keys that are undefined, so that a spread keeps the default. */
function defined<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;
}
