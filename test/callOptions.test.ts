import { expect, test } from 'vitest';
import { Bulkhead } from '../src/concurrent/balance/Bulkhead.js';
import { hedge } from '../src/concurrent/balance/hedge.js';
import { MultiServerRateLimiter } from '../src/concurrent/limiter/MultiServerRateLimiter.js';
import { RateLimiter } from '../src/concurrent/limiter/RateLimiter.js';
import { KeyedPool } from '../src/concurrent/resource/keyed/KeyedPool.js';
import { ResourcePool } from '../src/concurrent/resource/ResourcePool.js';
import { Semaphore } from '../src/concurrent/Semaphore.js';
import { FileCache } from '../src/toolstore/FileCache.js';
import { closeAfter } from './support/closeAfter.js';
import { memoryPool } from './support/memoryPool.js';
import { tempFolder } from './support/tempFolder.js';

/** What is given in place of a signal by a slip. */
const NONE = new AbortController() as never;
const FACTORY = { create: async () => ({}), destroy: async () => undefined };

/** The part full, so that a caller has to wait, and what frees it again; and whether nothing is held afterwards. */
interface Waiting {
  readonly acquire: () => Promise<unknown>;
  readonly free: () => unknown;
  readonly isFree: () => unknown;
}

const WAITING: Readonly<Record<string, () => Waiting | Promise<Waiting>>> = {
  Semaphore: () => {
    const semaphore = closeAfter(new Semaphore({ permits: 1 }));
    const permit = semaphore.tryAcquire();
    return {
      acquire: () => semaphore.acquire({ signal: NONE }),
      free: () => permit?.release(),
      isFree: () => semaphore.available === 1 && semaphore.waiting === 0,
    };
  },
  RateLimiter: () => {
    const limiter = closeAfter(new RateLimiter({ maxRequests: 1, windowMs: 60_000 }));
    limiter.tryAcquire();
    return {
      acquire: () => limiter.acquire({ signal: NONE }),
      free: () => undefined,
      isFree: () => limiter.inspect().waiting === 0,
    };
  },
  MultiServerRateLimiter: () => {
    const limiter = closeAfter(new MultiServerRateLimiter({ maxRequests: 1, windowMs: 60_000 }));
    limiter.tryAcquire('a');
    return {
      acquire: () => limiter.limiter('a').acquire({ signal: NONE }),
      free: () => undefined,
      isFree: () => limiter.inspect().waiting === 0,
    };
  },
  Bulkhead: async () => {
    const bulkhead = closeAfter(new Bulkhead({ maxConcurrent: 1 }));
    const permit = await bulkhead.acquire('a');
    return {
      acquire: () => bulkhead.acquire('a', { signal: NONE }),
      free: () => permit.release(),
      isFree: () => bulkhead.inspect().inUse === 0 && bulkhead.inspect().waiting === 0,
    };
  },
  ResourcePool: async () => {
    const pool = closeAfter(new ResourcePool(FACTORY, { maxResources: 1 }));
    const lease = await pool.acquire();
    return {
      acquire: () => pool.acquire({ signal: NONE }),
      free: () => lease.release(),
      isFree: () => pool.stats.inUse === 0 && pool.stats.waiting === 0,
    };
  },
  KeyedPool: async () => {
    const pool = closeAfter(new KeyedPool(FACTORY, { maxResources: 1 }));
    const lease = await pool.acquire('a');
    return {
      acquire: () => pool.acquire('a', { signal: NONE }),
      free: () => lease.release(),
      isFree: () => pool.stats.inUse === 0 && pool.stats.waiting === 0,
    };
  },
};

test.each(Object.entries(WAITING))('%s: a signal that is none is refused, and holds nothing', async (_, make) => {
  const { acquire, free, isFree } = await make();
  await expect(acquire()).rejects.toMatchObject({ code: 'ERR_OPTION', option: 'signal' });
  free();
  await expect.poll(isFree).toBe(true);
});

test('calls of pools, caches and hedge with a signal that is none are refused', async () => {
  const { pool } = memoryPool();
  pool.addServer({ name: 's', transport: 'stdio', command: 'x' });
  const cache = closeAfter(new FileCache({ directory: tempFolder() }));
  const options = { signal: NONE };
  const calls: Readonly<Record<string, () => Promise<unknown>>> = {
    request: () => pool.request('s', 'echo', {}, options),
    callTool: () => pool.callTool('s', 'echo', {}, options),
    notify: () => pool.notify('s', 'notifications/x', {}, options),
    lease: () => pool.lease('s', options),
    apply: () => pool.apply([], options),
    listAll: () => pool.listAll('s', 'tools', options),
    subscribe: () => pool.subscribe('s', { toolsListChanged: true }, { ...options, onNotification: () => undefined }),
    getOrLoad: () => cache.getOrLoad('k', async () => 1, options),
    getOrLoadTools: () => cache.getOrLoadTools({ name: 's', fingerprint: 'f' }, async () => ({ tools: [] }), options),
    hedge: async () => hedge(async () => 1, { after: 1, ...options }),
  };
  for (const [name, call] of Object.entries(calls)) {
    await expect(call(), name).rejects.toMatchObject({ code: 'ERR_OPTION', option: 'signal' });
  }
  expect(pool.stats('s')).toMatchObject({ inFlight: 0, queued: 0 });
});

test.each([Number.NaN, -1, '5', null])(
  'a time of a call that is none (%s) is refused: it would be no bound',
  async (time) => {
    const { pool } = memoryPool();
    pool.addServer({ name: 's', transport: 'stdio', command: 'x' });
    for (const option of ['timeoutMs', 'maxTotalTimeoutMs', 'acquireTimeoutMs', 'deadlineMs']) {
      const call = pool.request('s', 'echo', {}, { [option]: time });
      await expect(call, option).rejects.toMatchObject({ code: 'ERR_OPTION', option });
    }
    const lease = await pool.lease('s');
    await expect(lease.request('echo', {}, { timeoutMs: time as never })).rejects.toMatchObject({ code: 'ERR_OPTION' });
    lease.release();
  },
);
