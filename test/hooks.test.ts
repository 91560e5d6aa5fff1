import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Grants } from '../src/auth/Grants.js';
import { signInOnLoopback } from '../src/auth/signInOnLoopback.js';
import type { TokenStore } from '../src/auth/store/TokenStore.js';
import { UpstreamOAuth } from '../src/auth/UpstreamOAuth.js';
import { AdaptiveLimit } from '../src/concurrent/balance/AdaptiveLimit.js';
import { Balancer } from '../src/concurrent/balance/Balancer.js';
import { Bulkhead } from '../src/concurrent/balance/Bulkhead.js';
import { OutlierDetector } from '../src/concurrent/balance/OutlierDetector.js';
import { CircuitBreaker } from '../src/concurrent/breaker/CircuitBreaker.js';
import { MultiServerRateLimiter } from '../src/concurrent/limiter/MultiServerRateLimiter.js';
import { KeyedPool } from '../src/concurrent/resource/keyed/KeyedPool.js';
import { ResourcePool } from '../src/concurrent/resource/ResourcePool.js';
import { CallResult } from '../src/connection/calls/CallResult.js';
import type { Middleware } from '../src/connection/calls/Middleware.js';
import { MiddlewareChain } from '../src/connection/calls/MiddlewareChain.js';
import { OutcomeUnknownError, RpcError } from '../src/core/errors.js';
import type { Logger } from '../src/core/logger.js';
import { Gateway } from '../src/gateway/Gateway.js';
import { ToolCatalog } from '../src/gateway/ToolCatalog.js';
import { approve } from '../src/middleware/ready/approve.js';
import { audit } from '../src/middleware/ready/audit.js';
import { cache } from '../src/middleware/ready/cache.js';
import { coalesce } from '../src/middleware/ready/coalesce.js';
import { limit } from '../src/middleware/ready/limit.js';
import { Pins } from '../src/middleware/ready/Pins.js';
import { redact } from '../src/middleware/ready/redact.js';
import { retry } from '../src/middleware/ready/retry.js';
import { Instrument } from '../src/observe/index.js';
import type { PoolEvents } from '../src/pool/McpPool.js';
import type { PoolOptions } from '../src/pool/server/options.js';
import type { ServerConfig } from '../src/registry/config/ServerConfig.js';
import { ServerRegistry } from '../src/registry/config/ServerRegistry.js';
import { LifecycleManager } from '../src/registry/lifecycle/LifecycleManager.js';
import { ManagedProcess } from '../src/registry/process/ManagedProcess.js';
import { BackgroundWorker } from '../src/shutdown/BackgroundWorker.js';
import { Health } from '../src/shutdown/Health.js';
import { InFlight } from '../src/shutdown/InFlight.js';
import { ShutdownPlan } from '../src/shutdown/ShutdownPlan.js';
import { FileCache } from '../src/toolstore/FileCache.js';
import { NoOpCache } from '../src/toolstore/NoOpCache.js';
import { closeAfter } from './support/closeAfter.js';
import { TYPES } from './support/exportedTypes.js';
import { FakePool } from './support/FakePool.js';
import { RawClient } from './support/httpClient.js';
import { rawPool, tool as rawTool } from './support/httpPool.js';
import { memoryPool } from './support/memoryPool.js';
import { echo, stdioPool, tool } from './support/stdioPool.js';
import { tempFolder } from './support/tempFolder.js';

/**
 * A throw in every function that a user can hand in: it is an error of that one call, or it is logged; it is never unhandled,
 * and the part goes on working.
 */

const unhandled: unknown[] = [];
const note = (error: unknown): void => void unhandled.push(error);
let logged: unknown[] = [];
const logger = Object.fromEntries(
  ['debug', 'info', 'warn', 'error'].map((level) => [
    level,
    (fields: { error?: unknown }) => {
      if (fields?.error instanceof Planted) logged.push(fields.error);
    },
  ]),
) as unknown as Logger;

class Planted extends Error {}
const thrower = (): never => {
  throw new Planted('planted');
};
const rejecter = (): Promise<never> => Promise.reject(new Planted('planted'));
/** Both kinds; what takes a promise takes a throw too. */
const BOTH = [thrower, rejecter];

beforeAll(() => {
  process.on('unhandledRejection', note);
  process.on('uncaughtException', note);
});
afterAll(() => {
  process.off('unhandledRejection', note);
  process.off('uncaughtException', note);
});
afterEach(async () => {
  for (let i = 0; i < 3; i++) await new Promise((done) => setImmediate(done));
  expect(unhandled.splice(0)).toEqual([]);
  logged = [];
});

const FAR = { name: 'far', url: 'https://far.example/mcp', auth: { type: 'oauth' } } as const;

/** A list of tools through a chain. */
const listed = (
  chain: MiddlewareChain,
  end: () => unknown = () => ({ tools: [{ name: 't' }] }),
  method = 'tools/list',
): Promise<CallResult> =>
  chain.run(
    {
      kind: 'request',
      from: 'client',
      server: 's',
      method,
      caller: undefined,
      idempotent: false,
      era: () => undefined,
    },
    { name: 't' },
    {},
    async () => CallResult.of(end()),
  );

/** What a function given to a middleware throws is the failure of the call. */
async function throughReady(
  make: (fail: () => never) => readonly Middleware[],
  fails: readonly (() => unknown)[] = BOTH,
  end?: () => unknown,
): Promise<void> {
  for (const fail of fails) {
    for (const middleware of make(fail as () => never)) {
      const chain = new MiddlewareChain();
      chain.use(middleware);
      const outcomes = await Promise.allSettled([listed(chain, end), listed(chain, end, 'tools/call')]);
      expect(outcomes.some((each) => each.status === 'rejected' && each.reason instanceof Planted)).toBe(true);
    }
  }
}

/** The error of a call, itself or as a cause of what a caller gets. */
const planted = (error: unknown): boolean => {
  for (let each = error; each instanceof Error; each = each.cause) {
    if (each instanceof Planted) return true;
    if (each instanceof AggregateError && each.errors.some(planted)) return true;
  }
  return false;
};
const failure = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => 'no failure',
    (error: unknown) => error,
  );

const SERVER: ServerConfig = { name: 's', transport: 'stdio', command: 'x' };
const TARGETS = [{ id: 'a', target: 'a' }];
const FAST = { initialMs: 1, maxMs: 1, jitterRatio: 1 };

/** A call that such an option fails is told why; nothing of it stays in flight. */
async function poolCall(options: PoolOptions): Promise<void> {
  const { pool, call } = memoryPool(options);
  pool.addServer(SERVER);
  expect(planted(await failure(call('echo')))).toBe(true);
  expect(pool.stats('s')).toMatchObject({ inFlight: 0 });
}

/** By `Type.hook`, as the types call them. */
const HOOKS: Readonly<Record<string, () => unknown>> = {
  'AdaptiveLimitOptions.onChange': () => {
    const limit = new AdaptiveLimit({ algorithm: 'aimd', onChange: thrower, logger, windowCalls: 1, windowMs: 1 });
    for (let i = 0; i < 300; i++) {
      const ticket = limit.tryAcquire();
      if (ticket !== undefined) limit.dropped(ticket);
    }
    expect(limit.inspect()).toMatchObject({ inFlight: 0 });
    expect(limit.limit).toBeLessThan(20);
    expect(logged.length).toBeGreaterThan(0);
  },
  'OutlierDetectorOptions.onEject': () => {
    const outliers = new OutlierDetector({ onEject: thrower, logger, consecutiveFailures: 1, maxEjectedRatio: 1 });
    outliers.add('a');
    outliers.failed('a');
    expect(outliers.ejected).toBe(1);
    expect(logged).toHaveLength(1);
  },
  'BalancerOptions.random': () => {
    const balancer = new Balancer({ targets: TARGETS, policy: 'p2c-ewma', random: thrower });
    expect(() => balancer.pick()).toThrow(Planted);
    expect(balancer.inspect()[0]).toMatchObject({ inFlight: 0, picked: 0 });
  },
  'StatusOptions.authenticate': async () => {
    for (const authenticate of BOTH) {
      const { pool } = memoryPool();
      const gateway = closeAfter(new Gateway({ pool, port: 0, logger, status: { authenticate } }));
      const { url } = await gateway.listen();
      expect((await fetch(`${url}/status/data.json`)).status).toBe(500);
      expect((await fetch(`${url}/livez`)).status).toBe(200);
    }
    expect(logged).toHaveLength(2);
  },
  'LimiterFigures.stats': async () => {
    const { pool, call } = memoryPool();
    pool.addServer(SERVER);
    using instrument = new Instrument({ pool, limiter: { stats: thrower } });
    await call('echo');
    const told = instrument.collect().filter(({ samples }) => samples.length > 0);
    expect(told.map(({ spec }) => spec.name)).toContain('mcp_poolkit_calls_total');
    expect(told.map(({ spec }) => spec.name)).not.toContain('mcp_poolkit_limiter_waiting');
  },
  'PickOptions.exclude': () => {
    const balancer = new Balancer({ targets: TARGETS });
    expect(() => balancer.pick({ exclude: thrower })).toThrow(Planted);
    expect(balancer.pick()?.target).toBe('a');
  },
  ...Object.fromEntries(
    (['isFailure', 'isAnswer', 'onChange'] as const).map((hook) => [
      `CircuitBreakerOptions.${hook}`,
      () => {
        const breaker = new CircuitBreaker({ threshold: 1, logger, [hook]: thrower });
        const error = hook === 'isAnswer' ? new RpcError('s', 1, 'no') : new OutcomeUnknownError('s', 'call', 'down');
        breaker.failed(breaker.enter(), error);
        expect(logged.length).toBeGreaterThan(0);
        // A judge that fails says nothing of the call.
        expect(breaker.inspect().state).toBe(hook === 'onChange' ? 'open' : 'closed');
      },
    ]),
  ),
  'MultiServerRateLimiterOptions.keyOf': async () => {
    const limiter = closeAfter(new MultiServerRateLimiter({ maxRequests: 1, windowMs: 1_000, keyOf: thrower }));
    const { pool, call } = memoryPool({ limiter });
    pool.addServer(SERVER);
    expect(planted(await failure(call('echo')))).toBe(true);
    expect(pool.stats('s')).toMatchObject({ inFlight: 0 });
  },
  'LimiterSource.for': () => poolCall({ limiter: { for: thrower } }),
  'Limiter.acquire': async () => {
    for (const acquire of BOTH)
      await poolCall({ limiter: { for: () => ({ acquire, tryAcquire: () => false }) as never } });
    await poolCall({ limiter: { for: () => ({ tryAcquire: thrower, acquire: thrower }) as never } });
  },
  'ResourceFactory.create': async () => {
    for (const create of BOTH) {
      const pool = closeAfter(new ResourcePool({ create, destroy: () => undefined }));
      expect(planted(await failure(pool.acquire({ acquireTimeoutMs: 10_000 })))).toBe(true);
    }
  },
  'ResourceFactory.validate': async () => {
    for (const validate of BOTH) {
      let made = 0;
      const pool = closeAfter(
        new ResourcePool({ create: () => ({ id: ++made }), destroy: () => undefined, validate }, { logger }),
      );
      (await pool.acquire()).release();
      (await pool.acquire()).release();
      expect(pool.stats.inUse).toBe(0);
    }
  },
  'ResourceFactory.reset': async () => {
    for (const reset of BOTH) {
      let made = 0;
      const pool = closeAfter(
        new ResourcePool({ create: () => ({ id: ++made }), destroy: () => undefined, reset }, { maxResources: 1 }),
      );
      (await pool.acquire()).release();
      expect((await pool.acquire()).resource).toEqual({ id: 2 });
    }
  },
  'ResourceFactory.destroy': async () => {
    for (const destroy of BOTH) {
      const pool = new ResourcePool({ create: () => ({}), destroy });
      const lease = await pool.acquire();
      pool.retire(lease.resource);
      lease.release();
      expect(planted(await failure(pool.close()))).toBe(true);
    }
  },
  'KeyedFactory.create': async () => {
    for (const create of BOTH) {
      const pool = closeAfter(new KeyedPool<string, object>({ create, destroy: () => undefined }));
      expect(planted(await failure(pool.acquire('k', { acquireTimeoutMs: 10_000 })))).toBe(true);
    }
  },
  'KeyedFactory.validate and reset': async () => {
    for (const hook of ['validate', 'reset']) {
      for (const bad of BOTH) {
        let made = 0;
        const factory = { create: () => ({ id: ++made }), destroy: () => undefined, [hook]: bad };
        const pool = closeAfter(new KeyedPool<string, object>(factory, { logger }));
        (await pool.acquire('k')).release();
        (await pool.acquire('k')).release();
        (await pool.acquire('other')).release();
      }
    }
  },
  'KeyedFactory.destroy': async () => {
    for (const destroy of BOTH) {
      const pool = new KeyedPool<string, object>({ create: () => ({}), destroy });
      (await pool.acquire('k')).release();
      expect(planted(await failure(pool.close()))).toBe(true);
    }
  },
  'ResourcePoolOptions.random': async () => {
    const destroyed: unknown[] = [];
    const pool = new ResourcePool(
      { create: () => ({}), destroy: (each) => void destroyed.push(each) },
      { random: thrower, maxLifetimeMs: 100_000 },
    );
    const { resource } = await pool.acquire();
    await pool.close({ graceMs: 0 }).catch((error: unknown) => error);
    expect(destroyed).toEqual([resource]);
  },
  'LifecycleManagerOptions.random': async () => {
    const manager = closeAfter(new LifecycleManager({ random: thrower, ledger: false }));
    const restarted = new Promise((done) => void manager.on('restarting', done));
    await manager.start({ name: 's', command: 'sh', args: ['-c', 'exit 1'], restart: 'always', backoff: FAST });
    await restarted;
  },
  LifecycleEvents: async () => {
    const manager = closeAfter(new LifecycleManager({ ledger: false, logger }));
    for (const event of ['started', 'exited', 'stopped', 'failed', 'removed', 'restarted'] as const)
      manager.on(event as never, thrower);
    const handle = await manager.start({ name: 's', command: 'cat' });
    await handle.stop();
    await handle.remove();
    expect(logged.length).toBeGreaterThan(0);
  },
  'ManagedProcess.onExit and onStderr': async () => {
    const child = await ManagedProcess.spawn('s', { command: 'sh', args: ['-c', 'echo a >&2; cat'] }, { logger });
    child.onExit(thrower);
    child.onStderr(thrower);
    await child.stop();
    await child.exited;
    expect(logged.length).toBeGreaterThan(0);
  },
  RegistryEvents: () => {
    const registry = closeAfter(new ServerRegistry({ logger }));
    for (const event of ['added', 'removed', 'changed'] as const) registry.on(event, thrower);
    registry.add(SERVER);
    registry.set({ ...SERVER, command: 'y' } as never);
    registry.remove('s');
    expect(logged).toHaveLength(3);
  },
  'PoolOptions.wrapConnection': async () => {
    for (const wrapConnection of BOTH) await poolCall({ wrapConnection });
  },
  'PoolOptions.credentials': async () => {
    for (const credentials of BOTH) await poolCall({ credentials });
    for (const bad of BOTH) {
      // The one that is asked after a 401.
      let refuse = false;
      const { pool } = await rawPool(
        { before: ({ res }) => refuse && res.writeHead(401).end() !== undefined },
        { credentials: async ({ reason }) => (reason === '401' ? bad() : { headers: {} }) },
      );
      await rawTool(pool, 'echo', { text: 'a' });
      refuse = true;
      expect(await failure(rawTool(pool, 'echo', { text: 'a' }))).toBeInstanceOf(Error);
    }
  },
  'EraStore.get, set and delete': async () => {
    for (const method of BOTH) {
      const pool = stdioPool({ eraStore: { get: method, set: method, delete: method }, logger });
      pool.addServer(echo([], { era: 'auto' } as never));
      expect(await tool(pool, 'echo', { text: 'a' })).toBe('a');
      expect(logged.length).toBeGreaterThan(0);
    }
  },
  'RequestOptions.onProgress and onNotification': async () => {
    const { pool, connector, call } = memoryPool({ logger });
    pool.addServer(SERVER);
    connector.onMessage = ({ id, params }, connection) => {
      if (id === undefined) return;
      const { progressToken } = (params?.['_meta'] ?? {}) as { progressToken?: unknown };
      connection.say({ method: 'notifications/progress', params: { progressToken, progress: 1 } });
      connection.say({ method: 'notifications/message', params: { level: 'info', data: 1 } });
      connection.answer(id, { ok: true });
    };
    for (const hook of ['onProgress', 'onNotification'] as const) {
      expect(await call('x', { [hook]: thrower })).toEqual({ ok: true });
      expect(await call('x', { [hook]: rejecter as never })).toEqual({ ok: true });
    }
    expect(logged.length).toBeGreaterThan(1);
  },
  PoolEvents: async () => {
    const { pool, connector, call } = memoryPool({ logger });
    const heard = new Set<string>();
    const events: readonly (keyof PoolEvents)[] = ['state', 'started', 'exited', 'notification', 'orphanRequest'];
    for (const event of events)
      pool.on(event, () => {
        heard.add(event);
        return thrower();
      });
    pool.addServer(SERVER);
    await call('echo');
    connector.last.say({ method: 'notifications/tools/list_changed' });
    connector.last.say({ id: 9, method: 'roots/list' });
    connector.last.die('it crashed');
    await expect.poll(() => [...heard].sort()).toEqual([...events].sort());
    expect(await call('echo')).toMatchObject({ name: 'echo' });
  },
  'PoolEvents.orphanRequest.respond': async () => {
    const { pool, connector, call } = memoryPool({ logger });
    pool.on('orphanRequest', ({ respond }) => respond(rejecter()));
    pool.addServer(SERVER);
    await call('echo');
    const { seen } = connector.last;
    connector.last.say({ id: 9, method: 'roots/list' });
    await expect.poll(() => seen.find((each) => each.id === 9)).toMatchObject({ error: { code: expect.any(Number) } });
  },
  'McpPool.subscribe.onNotification': async () => {
    const { pool, connector } = memoryPool({ logger });
    pool.addServer(SERVER);
    connector.onMessage = ({ id }, connection) => id !== undefined && connection.answer(id, {});
    await pool.subscribe('s', { resourceUris: ['a:b'] }, { onNotification: thrower }).catch((error: unknown) => error);
    connector.last.say({ method: 'notifications/resources/updated', params: { uri: 'a:b' } });
    expect(await pool.request('s', 'ping')).toEqual({});
  },
  Loader: async () => {
    for (const load of BOTH) {
      const cache = closeAfter(new NoOpCache());
      expect(planted(await failure(cache.getOrLoadTools({ name: 's' }, load)))).toBe(true);
      const file = closeAfter(new FileCache({ directory: tempFolder(), logger }));
      expect(planted(await failure(file.getOrLoadTools({ name: 's' }, load)))).toBe(true);
      expect(planted(await failure(file.getOrLoad('k', load)))).toBe(true);
    }
  },
  'ToolCatalogOptions.fingerprint': async () => {
    const pool = new FakePool({ one: { lists: { tools: [] } } });
    const cache = closeAfter(new NoOpCache());
    const catalog = closeAfter(new ToolCatalog({ pool, cache, fingerprint: thrower, logger }));
    expect(planted(await failure(catalog.tools('one')))).toBe(true);
    pool.emit('notification', { server: 'one', notice: { method: 'notifications/tools/list_changed' } });
  },
  'GatewayOptions.pool, cache and health': async () => {
    const pool = new FakePool({
      one: { methods: { 'tools/call': thrower }, lists: { tools: rejecter as never, prompts: [] } },
    });
    const cache = closeAfter(new NoOpCache());
    cache.getOrLoadTools = thrower;
    const health = new Health({ checks: { bad: thrower, worse: { check: rejecter, critical: true } } });
    const gateway = closeAfter(new Gateway({ pool, port: 0, logger, cache, health }));
    const { url } = await gateway.listen();
    const [one, all] = [new RawClient(`${url}/servers/one/mcp`), new RawClient(`${url}/mcp`)];
    await Promise.all([one.initialize(), all.initialize()]);
    expect(await one.call('tools/call', { name: 'x' })).toMatchObject({ error: { message: 'internal error' } });
    expect(await all.call('tools/list')).toMatchObject({ result: { tools: [] } });
    pool.emit('started', { server: 'one', pid: 1, startMs: 1 });
    pool.emit('notification', { server: 'one', notice: { method: 'notifications/tools/list_changed' } });
    expect((await fetch(`${url}/readyz`)).status).toBe(503);
    expect((await fetch(`${url}/livez`)).status).toBe(200);
    expect(logged.length).toBeGreaterThan(0);
  },
  'GatewayOptions.authenticate': async () => {
    for (const fail of BOTH) {
      const gateway = closeAfter(new Gateway({ pool: new FakePool({}), port: 0, logger, authenticate: fail as never }));
      const { status } = await new RawClient(`${(await gateway.listen()).url}/mcp`).send({ method: 'ping' });
      expect(status).toBe(500);
      expect(logged.length).toBeGreaterThan(0);
    }
  },
  'McpPool.use and Gateway.use': async () => {
    for (const fail of BOTH) {
      const pool = stdioPool({ ledger: false, logger });
      await pool.startServer(echo());
      const installed = pool.use(fail);
      await expect(tool(pool, 'echo', { text: 'x' })).rejects.toThrow(Planted);
      installed[Symbol.dispose]();
      const gateway = closeAfter(new Gateway({ pool, port: 0, logger }));
      gateway.use(fail);
      const client = new RawClient(`${(await gateway.listen()).url}/servers/echo/mcp`);
      await client.initialize();
      expect((await client.call('tools/list')).error?.message).toContain('internal');
      await gateway.close({ graceMs: 0 });
    }
  },
  'ApproveOptions.decide and ask': () =>
    throughReady((fail) => [approve({ decide: fail }), approve({ decide: () => 'ask', ask: fail })]),
  'ApproveOptions.when': () => throughReady((fail) => [approve({ decide: () => 'allow', when: fail })], [thrower]),
  'AuditOptions.when': () => throughReady((fail) => [audit({ logger, when: fail })], [thrower]),
  'CacheOptions.when and ttlMs': () =>
    throughReady((fail) => [cache({ when: fail }), cache({ when: () => true, ttlMs: fail })], [thrower]),
  'CoalesceOptions.when': () => throughReady((fail) => [coalesce({ when: fail })], [thrower]),
  'LimitOptions.by': () => {
    const bulkhead = closeAfter(new Bulkhead({ maxConcurrent: 1 }));
    return throughReady((fail) => [limit({ bulkhead, by: fail })], [thrower]);
  },
  'RedactOptions.when': () => throughReady((fail) => [redact({ patterns: ['x'], when: fail })], [thrower]),
  'RetryOptions.idempotent': () =>
    throughReady(
      (fail) => [retry({ idempotent: fail })],
      [thrower],
      () => {
        throw new OutcomeUnknownError('s', 'tools/call', 'died');
      },
    ),
  'PinStore.get and set': () =>
    throughReady((fail) => [
      new Pins({ store: { get: fail, set: async () => undefined } }).middleware,
      new Pins({ store: { get: async () => undefined, set: fail } }).middleware,
    ]),
  'PinOptions.onHeld': async () => {
    const store = { get: async () => ({ t: 'another' }), set: async () => undefined };
    const chain = new MiddlewareChain();
    chain.use(new Pins({ store, onHeld: thrower, logger }).middleware);
    expect((await listed(chain)).value).toEqual({ tools: [] });
    expect(logged).toHaveLength(1);
  },
  'ShutdownPlan steps and hooks': async () => {
    for (const bad of BOTH) {
      const plan = new ShutdownPlan({ logger });
      const ran: string[] = [];
      plan.beforeStop(bad);
      plan.add('bad', bad);
      plan.add('good', () => void ran.push('good'));
      plan.afterStop(bad);
      const { error, exitCode } = await plan.shutdown('test');
      expect([ran, exitCode, error?.errors.length]).toEqual([['good'], 1, 3]);
    }
  },
  'ListenOptions.onReport': async () => {
    const plan = new ShutdownPlan({ logger });
    using _ = plan.listen({ onReport: thrower });
    await plan.shutdown('test');
    await expect.poll(() => logged.length).toBe(1);
    process.exitCode = 0;
  },
  'BackgroundWorkerOptions.run and onError': async () => {
    for (const run of BOTH) {
      let runs = 0;
      const worker = new BackgroundWorker({
        intervalMs: 1,
        run: () => (++runs > 2 ? undefined : run()),
        onError: thrower,
        logger,
      });
      worker.start();
      await expect.poll(() => runs).toBeGreaterThan(2);
      await worker.close();
      expect(logged.length).toBeGreaterThan(0);
    }
  },
  'BackgroundWorkerOptions.onError': () => HOOKS['BackgroundWorkerOptions.run and onError']?.(),
  'InFlight.listener': async () => {
    const late = (_: unknown, response: ServerResponse): never => {
      response.write('x');
      return thrower();
    };
    for (const handle of [...BOTH, late]) {
      const calls = closeAfter(new InFlight({ logger }));
      const server = createServer(calls.listener(handle as never)).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const answer = await fetch(url).then(
        (response) =>
          response.text().then(
            () => response.status,
            () => 'cut',
          ),
        () => 'cut',
      );
      expect(answer).toBe(handle.length === 2 ? 'cut' : 500);
      expect(logged.length).toBeGreaterThan(0);
      await calls.idle();
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  },
  'TokenStore get set delete exclusive': async () => {
    const grant = { server: FAR.url, issuer: 'https://i.example', resource: FAR.url, client: { id: 'c' } };
    const old = { ...grant, accessToken: 'a', refreshToken: 'r', expiresAt: 1 };
    const good: TokenStore = { get: async () => old, set: async () => undefined, delete: async () => undefined };
    const ask = (store: TokenStore): Promise<unknown> => {
      const { signal } = new AbortController();
      const oauth = new UpstreamOAuth({ store });
      return oauth.credentials({ server: 'far', config: FAR, caller: undefined, signal, reason: 'start' });
    };
    const planted = { code: 'ERR_SIGN_IN', message: expect.stringContaining('planted') };
    for (const broken of BOTH) {
      await expect(ask({ ...good, get: broken })).rejects.toMatchObject(planted);
      await expect(ask({ ...good, exclusive: broken })).rejects.toMatchObject(planted);
      await expect(new UpstreamOAuth({ store: { ...good, delete: broken } }).signOut(FAR)).rejects.toMatchObject(
        planted,
      );
      await expect(new Grants({ ...good, set: broken }).set(FAR, undefined, old)).rejects.toMatchObject(planted);
    }
  },
  'UpstreamOAuthOptions ownerOf': async () => {
    const store: TokenStore = { get: async () => undefined, set: async () => undefined, delete: async () => undefined };
    const { signal } = new AbortController();
    const asked = { server: 'far', config: FAR, caller: undefined, signal, reason: 'start' } as const;
    const oauth = new UpstreamOAuth({ store, ownerOf: thrower });
    await expect(oauth.credentials(asked)).rejects.toBeInstanceOf(Planted);
  },
  'SignInOnLoopbackOptions onUrl': async () => {
    const oauth = { begin: async () => ({ url: 'https://i.example', issuer: 'i' }) } as unknown as UpstreamOAuth;
    await expect(signInOnLoopback(oauth, FAR, { onUrl: thrower })).rejects.toBeInstanceOf(Planted);
  },
};

/** What users implement or are handed, and what no input of a peer reaches: not hooks of a call. */
const NOT_HOOKS: ReadonlySet<string> = new Set([
  ...['BulkheadPermit', 'CloseHooks', 'Closeable', 'ConnectRequest', 'Connection', 'ConnectionLease', 'Connector'],
  ...['Clock', 'Timer', 'FlightEntry', 'Lease', 'LoadContext', 'McpPool', 'RedisLike', 'ServerHandle', 'Subscription'],
  ...['ToolStore', 'EraStore', 'Limiter', 'LimiterSource', 'PrometheusRegistry', 'TracedRequest'],
  // What it throws: test/gateway/resumption.test.ts.
  'EventStore',
  // What it throws: test/gateway/replicas/replicas.test.ts.
  'ReplicaLink',
]);

/** Types of the same names as exported ones. */
const INTERNAL = /protocol\/listen\.ts$|InboundRouter\.ts$|^gateway\/endpoint\//;

test.each(Object.entries(HOOKS))('a throw in %s', async (_, run) => {
  await run();
});

test('every function that an exported type takes is among them', () => {
  const exported = new Set(
    Object.entries(TYPES).flatMap(([subpath, names]) => (['./bench', './testing'].includes(subpath) ? [] : names)),
  );
  const src = resolve(import.meta.dirname, '../src');
  const missing: string[] = [];
  let seen = 0;
  for (const file of readdirSync(src, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts') || /^(bench|testing|cli)\//.test(file) || INTERNAL.test(file)) continue;
    const text = readFileSync(join(src, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
    for (const [, name = '', body = ''] of text.matchAll(/export interface (\w+)[^{]*\{\n([\s\S]*?)\n\}/g)) {
      if (!exported.has(name) || NOT_HOOKS.has(name)) continue;
      for (const [, hook = ''] of body.matchAll(/^ {2}(?:readonly )?(\w+)\??(?:: \(*\([^)]*\) =>|\()/gm)) {
        seen++;
        if (!Object.keys(HOOKS).some((each) => each.startsWith(name) && each.includes(hook)))
          missing.push(`${name}.${hook}`);
      }
    }
  }
  expect(seen).toBeGreaterThan(8);
  expect(missing).toEqual([]);
});
