import { isIP } from 'node:net';
import { type Clock, systemClock } from '../core/clock.js';
import { OptionError } from '../core/errors.js';
import { limitedLogger } from '../core/limitedLogger.js';
import { guardedLogger, type Logger, silentLogger } from '../core/logger.js';
import { checkArray, checkBytes, checkCount, checkMs, checkPart, checkText, withDefaults } from '../core/options.js';
import { allowedNameOf, isHostName } from '../core/text/hostName.js';
import type { McpPool } from '../pool/McpPool.js';
import type { Curation } from '../registry/config/curation/Curation.js';
import type { Health } from '../shutdown/Health.js';
import type { ToolStore } from '../toolstore/ToolStore.js';
import type { EventStore } from './http/stream/stored/EventStore.js';
import { checkLink, type ReplicaLink } from './replicas/ReplicaLink.js';
import type { StatusOptions } from './status/StatusOptions.js';
import type { ResourceMetadata } from './users/Admission.js';
import type { Authenticate } from './users/Authenticate.js';
import type { ScopeRule } from './users/scopes/ScopeRules.js';

/** What the gateway stands on. */
export type GatewayPool = McpPool;

export interface GatewayOptions {
  /** The servers. It is lent: the gateway never closes it. */
  readonly pool: GatewayPool;
  /**
   * Keeps the servers' tool lists, so that after a restart they are there at once, and stay while a server is down. Lent.
   * @defaultValue one that keeps nothing: lists live in memory, until their server says that they changed
   */
  readonly cache?: ToolStore;
  /**
   * Answers `/livez`, `/readyz` and `/healthz`; the gateway adds a check for each server, which is never critical. Lent.
   * @defaultValue one of its own, that is no longer ready once the gateway refuses
   */
  readonly health?: Health;
  /**
   * Keeps what clients may have missed of their streams, in place of the memory of the gateway; an `EventStore` of the SDK. Numbers that
   * JavaScript cannot hold are what it makes of them when such a store hands them over. Lent.
   * @defaultValue the memory of the gateway: 256 KiB a stream, as held, and the answer, for the last eight calls of a session that ended
   */
  readonly eventStore?: EventStore;
  /**
   * Other replicas of this gateway: they tell each other of changed lists, ended sessions, cancelled calls and what clients set for
   * their sessions. Lent. @defaultValue there are none, or they do not know of each other
   */
  readonly replicas?: ReplicaLink;
  /** Which tools clients see, under which names, and groups of them; `gateway.curate` changes it. @defaultValue all as they are */
  readonly curation?: Curation;
  /**
   * Says who each request comes from, anew for every one: what keeps users apart. `undefined` is a 401. Sessions, lists, caches,
   * notifications and connections belong to one principal.
   * @defaultValue all clients are alike
   */
  readonly authenticate?: Authenticate;
  /** Tells clients where tokens come from (RFC 9728). Needs `authenticate`. @defaultValue they are told nothing */
  readonly resourceMetadata?: ResourceMetadata;
  /**
   * What each scope of a user's token opens: what none of theirs opens is not listed, and refused with 403 and the scope that would do. Needs
   * `authenticate`, whose users bring `scopes`.
   * @defaultValue every user may use all
   */
  readonly scopes?: Readonly<Record<string, ScopeRule>>;
  /** Address to listen on. Anything but loopback needs `allowedHosts`. @defaultValue '127.0.0.1' */
  readonly host?: string;
  /** 0 picks a free one. @defaultValue 3399 */
  readonly port?: number;
  /**
   * Host names that clients may ask for, whatever the port, without wildcards: what keeps a web page from reaching the gateway by a name of
   * its own (DNS rebinding). `localhost`, `127.0.0.1`, `[::1]` and the address listened on are always among them.
   * @defaultValue []
   */
  readonly allowedHosts?: readonly string[];
  /**
   * Host names of web pages that may call. Those of this machine always may; requests without `Origin` always may.
   * @defaultValue []
   */
  readonly allowedOrigins?: readonly string[];
  /** Bytes of one request body. @defaultValue 4194304 */
  readonly maxBodyBytes?: number;
  /** Longest time a request body may take, in ms, from 1: what comes slower is answered 408. @defaultValue 30000 */
  readonly bodyTimeoutMs?: number;
  /** A client that takes nothing of a large answer for so long, in ms, from 1, is cut. @defaultValue 30000 */
  readonly stallTimeoutMs?: number;
  /** Bytes of bodies on their way or not answered yet (twice), and of answers and notifications not taken, over all sessions; beyond it bodies are answered 429 (their user, or address, has its share) or 503, answers are told as lost, notifications dropped. What one user, or address, holds leaves a quarter to others. Questions that wait for clients' answers have half at most, one server three quarters of that. @defaultValue 268435456 */
  readonly maxBufferedBytes?: number;
  /**
   * Most sessions, from 1. When all are taken, a client whose address has fewer than another's takes the place of the
   * longest unused of that one's sessions. @defaultValue 1000
   */
  readonly maxSessions?: number;
  /**
   * Most sessions of one address (of IPv6, one /64), from 1; `Infinity`: no bound but `maxSessions`. Clients behind one
   * proxy have one address. @defaultValue Infinity
   */
  readonly maxSessionsPerAddress?: number;
  /**
   * A session without call or stream for this long, in ms, from 1, ends; with `sessionKeys` it is forgotten here, and goes on with its
   * client's next request. `Infinity`: never. @defaultValue 1800000
   */
  readonly sessionIdleMs?: number;
  /**
   * Secrets of 32 random bytes or more, 1 to 16 of them, that all replicas have: a session that one of them opened goes on in any other,
   * and in this one after a restart. The first seals the ids of new sessions, all of them open: to change a key, add the new one
   * behind, then put it first, then take the old one away. @defaultValue one of this process, whose sessions end with it
   */
  readonly sessionKeys?: readonly (string | Uint8Array)[];
  /** With `sessionKeys`: a session is taken up for so long after it was opened, in ms, from 1 to 400 days. @defaultValue 86400000 */
  readonly sessionLifeMs?: number;
  /** Requests in flight of one session, from 1. @defaultValue 1000 */
  readonly maxRequestsPerSession?: number;
  /** Resource subscriptions of one session, from 0. @defaultValue 100 */
  readonly maxSubscriptionsPerSession?: number;
  /**
   * Bytes waiting for a slow reader: of a stream, whose notifications beyond are dropped and counted; of a large answer, of which no more
   * is read from its server meanwhile unless other calls wait for that. @defaultValue 1048576
   */
  readonly maxStreamBufferBytes?: number;
  /** Connections open at once, from 1, three quarters of them of one address. Beyond, the oldest without a request makes room. @defaultValue 10000 */
  readonly maxSockets?: number;
  /** An idle connection is kept for so long, in ms. @defaultValue 65000 */
  readonly keepAliveTimeoutMs?: number;
  /** A comment goes down each open stream every so often, in ms, so that nothing between cuts it. @defaultValue 25000 */
  readonly heartbeatMs?: number;
  /**
   * A call without answer or progress for so long, in ms, from 1, ends, and its server is told. `Infinity`: a call lives as long as
   * its client waits. Servers with `timeouts` in their config keep to those. @defaultValue Infinity
   */
  readonly callIdleMs?: number;
  /** Longest that one server may take to start or to list what it has for `/mcp`, in ms, from 1. @defaultValue 10000 */
  readonly listTimeoutMs?: number;
  /**
   * Longest that `initialize` and the lists of `/mcp` wait for one server, in ms, from 0: they go on without it, and what it has follows
   * as `list_changed`. `Infinity`: as long as `listTimeoutMs`. So long a `subscriptions/listen` waits for a server that does not take its
   * subscription. @defaultValue 2000
   */
  readonly serverWaitMs?: number;
  /**
   * Serves the HTTP+SSE transport of 2024-11-05 as well, for clients that know no other: `/sse` beside each `/mcp`.
   * @defaultValue false
   */
  readonly sse?: boolean;
  /** Items of one page of a list of `/mcp`, from 1. `Infinity`: one page. @defaultValue 1000 */
  readonly pageItems?: number;
  /**
   * The page at `/status`, which shows and controls servers and calls, and `/metrics` for Prometheus. `true` is the page with its
   * defaults; `false`: neither. With `authenticate` it needs `status.authenticate`, since it shows and steers the calls of all users.
   * @defaultValue the page on loopback where there are no users, else nothing
   */
  readonly status?: boolean | StatusOptions;
  /** Where it logs; anything with pino's methods. @defaultValue a logger that is silent */
  readonly logger?: Logger;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
}

export const GATEWAY_DEFAULTS = Object.freeze({
  host: '127.0.0.1',
  port: 3399,
  maxBodyBytes: 4 * 1_024 * 1_024,
  bodyTimeoutMs: 30_000,
  stallTimeoutMs: 30_000,
  maxBufferedBytes: 256 * 1_024 * 1_024,
  maxSessions: 1_000,
  maxSessionsPerAddress: Number.POSITIVE_INFINITY,
  sessionIdleMs: 30 * 60_000,
  sessionLifeMs: 24 * 3_600_000,
  maxRequestsPerSession: 1_000,
  maxSubscriptionsPerSession: 100,
  maxStreamBufferBytes: 1_024 * 1_024,
  maxSockets: 10_000,
  keepAliveTimeoutMs: 65_000,
  heartbeatMs: 25_000,
  callIdleMs: Number.POSITIVE_INFINITY,
  listTimeoutMs: 10_000,
  serverWaitMs: 2_000,
  pageItems: 1_000,
  sse: false,
});

/** What is no setting, but a part or a function. */
type Lent =
  | ('curation' | 'logger' | 'clock' | 'pool' | 'cache' | 'health' | 'eventStore' | 'status')
  | ('authenticate' | 'resourceMetadata' | 'scopes' | 'sessionKeys' | 'replicas');

export type GatewaySettings = Required<Omit<GatewayOptions, Lent>>;

const HOSTS = 'names of hosts as they stand in URLs: no scheme, no path, no wildcards';

/** @throws OptionError */
export function checkGatewayOptions(options: GatewayOptions): GatewaySettings {
  const {
    allowedHosts = [],
    allowedOrigins = [],
    ...all
  } = withDefaults('Gateway', options, GATEWAY_DEFAULTS, {
    pool: true,
    cache: true,
    curation: true,
    health: true,
    authenticate: true,
    resourceMetadata: true,
    scopes: true,
    eventStore: true,
    sessionKeys: true,
    replicas: true,
    allowedHosts: true,
    allowedOrigins: true,
    status: true,
    logger: true,
    clock: true,
  });
  const settings: GatewaySettings = { ...all, allowedHosts, allowedOrigins };
  const { eventStore: store, pool, cache, health } = options;
  checkPart('pool', pool, ['on', 'request'], 'a pool of servers');
  if (cache !== undefined) checkPart('cache', cache, ['getOrLoadTools'], 'a cache of tool lists');
  if (health !== undefined) checkPart('health', health, ['add', 'inspect'], 'a Health');
  checkArray('allowedHosts', allowedHosts);
  checkArray('allowedOrigins', allowedOrigins);
  if (
    store !== undefined &&
    !(typeof store?.storeEvent === 'function' && typeof store.replayEventsAfter === 'function')
  ) {
    throw new OptionError('eventStore', store, 'an object with storeEvent() and replayEventsAfter()');
  }
  checkText('host', settings.host);
  checkCount('port', settings.port, { max: 65_535 });
  checkBytes('maxBodyBytes', settings.maxBodyBytes, { min: 1 });
  checkBytes('maxBufferedBytes', settings.maxBufferedBytes, { min: 1 });
  checkMs('bodyTimeoutMs', settings.bodyTimeoutMs, { min: 1 });
  checkMs('stallTimeoutMs', settings.stallTimeoutMs, { min: 1 });
  checkBytes('maxStreamBufferBytes', settings.maxStreamBufferBytes);
  for (const option of ['maxSessions', 'maxRequestsPerSession', 'maxSockets'] as const) {
    checkCount(option, settings[option], { min: 1 });
  }
  checkCount('maxSessionsPerAddress', settings.maxSessionsPerAddress, { min: 1, infinity: true });
  checkCount('maxSubscriptionsPerSession', settings.maxSubscriptionsPerSession);
  checkMs('sessionIdleMs', settings.sessionIdleMs, { min: 1, infinity: true });
  checkMs('sessionLifeMs', settings.sessionLifeMs, { min: 1, max: 400 * 86_400_000 });
  checkMs('heartbeatMs', settings.heartbeatMs, { min: 1, infinity: true });
  checkMs('callIdleMs', settings.callIdleMs, { min: 1, infinity: true });
  checkMs('listTimeoutMs', settings.listTimeoutMs, { min: 1 });
  checkMs('serverWaitMs', settings.serverWaitMs, { infinity: true });
  checkCount('pageItems', settings.pageItems, { min: 1, infinity: true });
  checkMs('keepAliveTimeoutMs', settings.keepAliveTimeoutMs);
  if (typeof settings.sse !== 'boolean') throw new OptionError('sse', settings.sse, 'true or false');
  for (const each of settings.allowedHosts) {
    if (allowedNameOf(checkText('allowedHosts', each)) !== undefined) continue;
    throw new OptionError('allowedHosts', each, HOSTS);
  }
  for (const each of settings.allowedOrigins) {
    if (isHostName(checkText('allowedOrigins', each))) continue;
    throw new OptionError('allowedOrigins', each, `${HOSTS}, without port`);
  }
  if (!isLoopback(settings.host) && settings.allowedHosts.length === 0) {
    throw new OptionError(
      'allowedHosts',
      settings.allowedHosts,
      `the names clients may use, since ${settings.host} is not loopback`,
    );
  }
  return settings;
}

/** What a gateway is made of, checked. `closing` aborts when it closes. @throws OptionError */
export function gatewayParts(options: GatewayOptions, closing: AbortSignal) {
  const settings = checkGatewayOptions(options);
  const { pool, logger = silentLogger, clock = systemClock, replicas } = options;
  const link = replicas === undefined ? undefined : checkLink(replicas, clock, closing);
  // Clients cause most of what a gateway tells.
  return { settings, pool, link, logger: limitedLogger(guardedLogger(logger), () => clock.now()), clock };
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
