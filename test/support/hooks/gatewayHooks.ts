import { expect } from 'vitest';
import { Bulkhead } from '../../../src/concurrent/balance/Bulkhead.js';
import { MiddlewareChain } from '../../../src/connection/calls/MiddlewareChain.js';
import { OutcomeUnknownError } from '../../../src/core/errors.js';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { ToolCatalog } from '../../../src/gateway/ToolCatalog.js';
import { approve } from '../../../src/middleware/ready/approve.js';
import { audit } from '../../../src/middleware/ready/audit.js';
import { cache } from '../../../src/middleware/ready/cache.js';
import { coalesce } from '../../../src/middleware/ready/coalesce.js';
import { limit } from '../../../src/middleware/ready/limit.js';
import { Pins } from '../../../src/middleware/ready/Pins.js';
import { redact } from '../../../src/middleware/ready/redact.js';
import { retry } from '../../../src/middleware/ready/retry.js';
import { Health } from '../../../src/shutdown/Health.js';
import { NoOpCache } from '../../../src/toolstore/NoOpCache.js';
import { closeAfter } from '../closeAfter.js';
import { FakePool } from '../FakePool.js';
import { RawClient } from '../httpClient.js';
import { echo, stdioPool, tool } from '../stdioPool.js';
import { BOTH, failure, listed, logged, logger, Planted, planted, rejecter, throughReady, thrower } from './planted.js';

/** What a throw does in the functions that catalogs, gateways and middleware take, by `Type.hook`, as the types call them. */
export const gatewayHooks: Readonly<Record<string, () => unknown>> = {
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
    pool.emit('started', { server: 'one', pid: 1, startMs: 1, others: 0 });
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
      const first = gateway.use(fail);
      const client = new RawClient(`${(await gateway.listen()).url}/servers/echo/mcp`);
      expect((await client.initialize()).error?.message).toContain('internal');
      first[Symbol.dispose]();
      await client.initialize();
      gateway.use(fail);
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
};
