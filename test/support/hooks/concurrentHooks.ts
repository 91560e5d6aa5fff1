import { expect } from 'vitest';
import { AdaptiveLimit } from '../../../src/concurrent/balance/AdaptiveLimit.js';
import { Balancer } from '../../../src/concurrent/balance/Balancer.js';
import { OutlierDetector } from '../../../src/concurrent/balance/OutlierDetector.js';
import { CircuitBreaker } from '../../../src/concurrent/breaker/CircuitBreaker.js';
import { MultiServerRateLimiter } from '../../../src/concurrent/limiter/MultiServerRateLimiter.js';
import { KeyedPool } from '../../../src/concurrent/resource/keyed/KeyedPool.js';
import { ResourcePool } from '../../../src/concurrent/resource/ResourcePool.js';
import { OutcomeUnknownError, RpcError } from '../../../src/core/errors.js';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { Instrument } from '../../../src/observe/index.js';
import { closeAfter } from '../closeAfter.js';
import { memoryPool } from '../memoryPool.js';
import { BOTH, failure, logged, logger, Planted, planted, poolCall, SERVER, TARGETS, thrower } from './planted.js';

/** What a throw does in the functions that limits, balancers and resource pools take, by `Type.hook`, as the types call them. */
export const concurrentHooks: Readonly<Record<string, () => unknown>> = {
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
};
