import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join, resolve } from 'node:path';
import { Redis } from 'ioredis';
import { expect, test, vi } from 'vitest';
import { exportedInterfaces, membersOf } from '../scripts/options/declarations.mjs';
import { UpstreamOAuth } from '../src/auth/UpstreamOAuth.js';
import { MultiServerRateLimiter } from '../src/concurrent/limiter/MultiServerRateLimiter.js';
import { Gateway } from '../src/gateway/Gateway.js';
import { ShutdownPlan } from '../src/shutdown/ShutdownPlan.js';
import { FaultPlan } from '../src/testing/faults/FaultPlan.js';
import { History } from '../src/testing/history/History.js';
import { NoOpCache } from '../src/toolstore/NoOpCache.js';
import { closeAfter } from './support/closeAfter.js';
import { memoryPool } from './support/memoryPool.js';

/**
 * Whatever is handed to an exported class or function in place of its options, of one of them, or of another part: it is
 * taken where it may stand, or it is an `OptionError` that names it. A `TypeError` says nothing to the programmer who made a slip.
 */

// All of the package is read here.
vi.setConfig({ testTimeout: 60_000 });

const root = resolve(import.meta.dirname, '..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, { types: string; default: string } | string>;
};

const ODD: readonly unknown[] = [
  null,
  5,
  'x',
  true,
  [],
  {},
  () => 1,
  Symbol('s'),
  10n,
  Number.NaN,
  new Map(),
  undefined,
];

/** Those of them that each single option is tried with. */
const ODD_OPTIONS: ReadonlySet<unknown> = new Set([null, 'x', ODD.find((each) => typeof each === 'symbol')]);

/** Made by the toolkit alone: a part hands them out. */
const HANDED_OUT = new Set([
  'BalancerPick',
  'SignIn',
  'ShutdownReport',
  'CallResult',
  'ManagedProcess',
  'ProcessLedger',
  'OpenTelemetry',
  'Permit',
]);

/** It never connects: what is made with it is refused. */
const REDIS = new Redis({ lazyConnect: true, port: 1, retryStrategy: null });
REDIS.on('error', () => undefined);
const STORE = { get: async () => undefined, set: async () => undefined, delete: async () => undefined };

const nothing = (): void => undefined;
const CONNECTION = {
  server: 'x',
  info: { era: 'legacy' },
  request: nothing,
  close: async () => undefined,
  setRequestHandler: nothing,
  onNotification: nothing,
  onClose: nothing,
};

/** What comes before the options, and the options without which there are none. */
const GIVEN: Readonly<Record<string, () => readonly unknown[]>> = {
  KeyedPool: () => [{ create: async () => ({}), destroy: async () => undefined }, {}],
  ResourcePool: () => [{ create: async () => ({}), destroy: async () => undefined }, {}],
  Balancer: () => [{ targets: [{ id: 'a', target: 1 }] }],
  BackgroundWorker: () => [{ run: async () => undefined, intervalMs: 60_000 }],
  Bulkhead: () => [{ maxConcurrent: 1 }],
  CircuitBreaker: () => [{ name: 'x' }],
  RateLimiter: () => [{ maxRequests: 1, windowMs: 1 }],
  MultiServerRateLimiter: () => [{ maxRequests: 1, windowMs: 1 }],
  ClusterRateLimiter: () => [{ maxRequests: 1, windowMs: 1_000, id: 'x', redis: REDIS }],
  Semaphore: () => [{ permits: 1 }],
  hedge: () => [async () => 1, { after: 1 }],
  // A timer that a refusal leaves armed is seen.
  withTimeout: () => ['x', async () => undefined, { timeoutMs: 60_000 }],
  Gateway: () => [{ pool: memoryPool().pool }],
  ToolCatalog: () => [{ pool: memoryPool().pool, cache: new NoOpCache() }],
  Instrument: () => [{ pool: memoryPool().pool }],
  EventLog: () => [{ pool: memoryPool().pool, logger: console }],
  RedisEventStore: () => [{ redis: REDIS }],
  RedisReplicas: () => [{ redis: REDIS }],
  jwtUsers: () => [{ issuer: 'https://a', audience: 'b', jwks: { keys: [] } }],
  addGateway: () => [new ShutdownPlan(), new Gateway({ pool: memoryPool().pool }), {}],
  addHttpServer: () => [new ShutdownPlan(), createServer(), {}],
  closeHttpServer: () => [createServer(), {}],
  trackHttpServer: () => [createServer(), {}],
  approve: () => [{ decide: () => 'allow' }],
  audit: () => [{ logger: console }],
  limit: () => [{ rate: closeAfter(new MultiServerRateLimiter({ maxRequests: 1, windowMs: 1 })) }],
  redact: () => [{ patterns: ['x'] }],
  UpstreamOAuth: () => [{ store: STORE }],
  signInOnLoopback: () => [
    new UpstreamOAuth({ store: STORE }),
    { name: 'x', transport: 'http', url: 'http://127.0.0.1:1/' },
    { onUrl: () => undefined },
  ],
  ConfigWatcher: () => [{ file: '/no/such/file' }],
  parseConfig: () => ['{}', {}],
  readConfigFile: () => ['/no/such/file', {}],
  CloseScope: () => ['x', {}],
  check: () => [[], {}],
  record: () => [memoryPool().pool, new History(), {}],
  replay: () => [new History(), memoryPool().pool, 'x', {}],
  FaultProxy: () => [{ upstream: 'http://127.0.0.1:1/mcp' }],
  TcpFaultProxy: () => [{ upstream: '127.0.0.1:1' }],
  FaultyDisk: () => [{ folder: '/no/such/folder' }],
  faulty: () => [CONNECTION, new FaultPlan({ seed: 1 }), {}],
};

/** Options of another name than the part's. */
const OPTIONS: Readonly<Record<string, string>> = {
  Pins: 'PinOptions',
  addGateway: 'GatewayStepsOptions',
  addHttpServer: 'HttpStepsOptions',
  jwtUsers: 'JwtOptions',
  leakBaseline: 'LeakOptions',
  parseConfig: 'ParseOptions',
};

type Callable = (...given: readonly unknown[]) => unknown;

const show = (value: unknown): string =>
  typeof value === 'object' && value !== null
    ? Object.prototype.toString.call(value) + JSON.stringify(value)
    : String(value);

/** Old names, told by the new ones. */
const RENAMED: Readonly<Record<string, string>> = {
  maxWaitMs: 'acquireTimeoutMs',
  maxWaiters: 'maxQueue',
  plan: 'FaultPlan',
};

/**
 * Each option is looked at when it is given, not by the first call that comes to it: a symbol is the kind of none, and the name that
 * no part knows is a slip.
 */
async function takenBy(name: string, make: Callable, options: readonly string[]): Promise<string[]> {
  const given = GIVEN[name]?.() ?? [];
  const last = Math.max(0, given.length - 1);
  const taken = await Promise.all(
    ['anOptionThatIsNone', ...options].map(async (option) => {
      const all = { ...(given[last] as object), [option]: Symbol('s') };
      try {
        const made = await make(...given.slice(0, last), all);
        if (typeof (made as { close?: unknown } | undefined)?.close === 'function') {
          closeAfter({ close: async () => void (await (made as { close(): unknown }).close()) });
        }
        return `${name}({ ${option}: a symbol })`;
      } catch (error) {
        const { code, option: named } = error as { readonly code?: string; readonly option?: string };
        if (code !== 'ERR_OPTION') return `${name}({ ${option}: a symbol }): ${String(error)}`;
        return [option, RENAMED[option] ?? option].some((each) => named?.includes(each) === true)
          ? []
          : `${name}({ ${option}: a symbol }): names ${named}`;
      }
    }),
  );
  return taken.flat();
}

/** What an export made of each odd value that is no `OptionError`. */
async function faultsOf(name: string, make: Callable, options: readonly string[]): Promise<string[]> {
  const faults: string[] = [];
  const tried: Promise<void>[] = [];
  const attempt = (label: string, ...given: readonly unknown[]): void => {
    const fault = (error: unknown): void => {
      if ((error as { code?: unknown } | undefined)?.code !== 'ERR_OPTION')
        faults.push(`${name}(${label}): ${String(error)}`);
    };
    try {
      const made = make(...given);
      if (made instanceof Promise) tried.push(made.then(() => undefined, fault));
      else if (typeof (made as { close?: unknown } | undefined)?.close === 'function') {
        closeAfter({ close: async () => void (await (made as { close(): unknown }).close()) });
      }
    } catch (error) {
      fault(error);
    }
  };
  const given = GIVEN[name]?.() ?? [];
  const last = Math.max(0, given.length - 1);
  const before = given.slice(0, last);
  for (const odd of ODD) {
    attempt(show(odd), odd);
    for (const at of given.keys()) attempt(`${at}: ${show(odd)}`, ...given.with(at, odd));
    // Ranges have their tests in each part's own room.
    if (!ODD_OPTIONS.has(odd)) continue;
    for (const option of options) {
      attempt(`{ ${option}: ${show(odd)} }`, ...before, { ...(given[last] as object), [option]: odd });
    }
  }
  await Promise.all(tried);
  return faults;
}

for (const [subpath, target] of Object.entries(manifest.exports)) {
  if (typeof target === 'string' || ['.', './errors'].includes(subpath)) continue;
  test(`${subpath}: odd input is an OptionError wherever it is given`, async () => {
    const index = join(root, target.types);
    const interfaces = exportedInterfaces(index);
    const parts = (await import(join(root, target.default))) as Record<string, unknown>;
    const faults: string[] = [];
    for (const [name, part] of Object.entries(parts)) {
      if (typeof part !== 'function' || part.prototype instanceof Error || HANDED_OUT.has(name)) continue;
      const isClass = Function.prototype.toString.call(part).startsWith('class');
      const make: Callable = (...given) =>
        isClass ? Reflect.construct(part, given) : Reflect.apply(part, undefined, given);
      const own = OPTIONS[name] ?? `${name.charAt(0).toUpperCase()}${name.slice(1)}Options`;
      const file = interfaces.find((each) => each.name === own)?.file;
      const options = (file === undefined ? undefined : membersOf(file, own)) ?? [];
      const names = options.map((each) => each.name);
      faults.push(...(await faultsOf(name, make, names)));
      if (file !== undefined) faults.push(...(await takenBy(name, make, names)));
    }
    expect(faults.join('\n')).toBe('');
  });
}
