import { expect, test } from 'vitest';
import { Bulkhead } from '../../src/concurrent/balance/Bulkhead.js';
import { RateLimiter } from '../../src/concurrent/limiter/RateLimiter.js';
import { ResourcePool } from '../../src/concurrent/resource/ResourcePool.js';
import { Semaphore } from '../../src/concurrent/Semaphore.js';
import { encodeNotice } from '../../src/connection/channel/codec/encode.js';
import { OptionError } from '../../src/core/errors.js';
import { HTTPClientPool } from '../../src/pool/HTTPClientPool.js';
import { SSEPool } from '../../src/pool/SSEPool.js';
import { StdioPool } from '../../src/pool/StdioPool.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { ServerRegistry } from '../../src/registry/config/ServerRegistry.js';
import { MEMORY, memoryPool } from '../support/memoryPool.js';

// What JavaScript may hand in, and the types would refuse.
test.each([
  ['StdioPool', StdioPool, { maxConcurent: 2 }, /maxConcurrent/],
  ['StdioPool', StdioPool, { ledgr: false }, /ledger/],
  ['StdioPool', StdioPool, { backoff: { initialMS: 5 } }, /initialMs/],
  ['HTTPClientPool', HTTPClientPool, { keepAliveMS: 5 }, /keepAliveMs/],
  ['SSEPool', SSEPool, { requestTimeout: 5 }, /requestTimeoutMs/],
  ['UnifiedPool', UnifiedPool, { stdinGrace: 5 }, /stdinGraceMs/],
] as const)('%s refuses an option that does not exist, and names the nearest', (part, Pool, options, near) => {
  const make = () => new (Pool as new (options: object) => unknown)(options);
  expect(make).toThrow(OptionError);
  expect(make).toThrow(near);
  expect(make).toThrow(part);
});

test('an option that is undefined counts as absent', async () => {
  const pool = new UnifiedPool({ ...({ maxConcurrent: undefined, ledger: undefined } as object) });
  await pool.close();
});

test.each([
  [{ transport: 'stdio', command: 'true', comand: 'secret' }, /servers\["?a"?\]\.comand.*'command'/],
  [{ transport: 'stdio', command: 'true', headers: {} }, /\.headers/],
  [{ transport: 'http', url: 'http://localhost', maxConection: 1 }, /'maxConnections'/],
  [{ url: 'http://localhost', args: [] }, /\.args/],
  [{ transport: 'stdio', command: 'true', timeouts: { defaultMs: 5 } }, /timeouts\.defaultMs.*'default'/],
  [{ transport: 'stdio', command: 'true', disabled: true }, /'enabled'|enabled/],
])('a server with a setting that does not exist is refused: %j', async (settings, says) => {
  await using pool = new UnifiedPool();
  const config = { name: 'a', ...settings } as never;
  expect(() => pool.addServer(config)).toThrow(OptionError);
  expect(() => pool.addServer(config)).toThrow(says);
  expect(() => pool.addServer(config)).not.toThrow(/secret/);
  await expect(pool.startServer(config)).rejects.toThrow(says);
  await expect(pool.apply([config])).rejects.toThrow(says);
  const registry = new ServerRegistry();
  expect(() => registry.add(config)).toThrow(says);
  await registry.close();
});

test('a call with an option that does not exist is refused before anything is started', async () => {
  await using pool = new UnifiedPool();
  pool.addServer({ name: 'a', transport: 'stdio', command: 'no-such-program' });
  const odd = <T>(options: object) => options as T;
  const refused = async (call: Promise<unknown>, says: RegExp): Promise<void> => {
    await expect(call).rejects.toThrow(OptionError);
    await expect(call).rejects.toThrow(says);
  };
  await refused(pool.request('a', 'ping', {}, odd({ timoutMs: 5 })), /request\.timoutMs: got 5.*'timeoutMs'/);
  await refused(pool.callTool('a', 't', {}, odd({ Signal: undefined })), /'signal'/);
  await refused(pool.notify('a', 'm', {}, odd({ calle: {} })), /notify\.calle: got "object".*'caller'/);
  await refused(pool.lease('a', odd({ timeoutMs: 5 })), /lease\.timeoutMs/);
  await refused(pool.listAll('a', 'tools', odd({ maxPage: 5 })), /listAll\.maxPage.*'maxPages'/);
  await refused(pool.subscribe('a', {}, odd({ onNotice: () => undefined })), /subscribe\.onNotice/);
  await refused(pool.stopServer('a', odd({ timeoutMs: 5 })), /close\.timeoutMs/);
  await refused(pool.removeServer('a', odd({ gracMs: 5 })), /'graceMs'/);
  await refused(pool.removeServer('a', { graceMs: -1 }), /graceMs/);
  await refused(pool.close(odd({ timeoutMs: 5 })), /close\.timeoutMs.*graceMs/);
  expect(pool.state('a')).toBe('idle');
});

test('a call on a lease with an option that does not exist is refused', async () => {
  await using pool = new StdioPool();
  pool.addServer({ name: 'echo', transport: 'stdio', command: process.execPath, args: ['bench/servers/echo.mjs'] });
  await using lease = await pool.lease('echo');
  const call = lease.request('tools/list', {}, { timeoutMS: 5 } as object);
  await expect(call).rejects.toThrow(/request\.timeoutMS.*'timeoutMs'/);
});

test('the primitives refuse options of one wait that do not exist', async () => {
  const odd = <T>(options: object) => options as T;
  await using semaphore = new Semaphore({ permits: 1 });
  await expect(semaphore.acquire(odd({ maxWaitMs: 5 }))).rejects.toThrow(/acquire\.maxWaitMs/);
  await using limiter = new RateLimiter({ maxRequests: 1, windowMs: 1_000 });
  await expect(limiter.acquire(odd({ wieght: 2 }))).rejects.toThrow(/'weight'/);
  await using bulkhead = new Bulkhead({ maxConcurrent: 1 });
  await expect(bulkhead.acquire('k', odd({ timeoutMs: 5 }))).rejects.toThrow(OptionError);
  await using resources = new ResourcePool({ create: async () => ({}), destroy: async () => undefined }, {});
  await expect(resources.acquire(odd({ timeoutMs: 5 }))).rejects.toThrow(/acquire\.timeoutMs/);
});

test('a name that is no name, options that are no object and configs that cannot be gone through are refused by name', async () => {
  await using pool = new UnifiedPool();
  pool.addServer({ name: 'a', transport: 'stdio', command: 'no-such-program' });
  const odd = (value: unknown): never => value as never;
  const calls: [() => unknown, RegExp][] = [];
  for (const value of [undefined, null, 5, {}, Symbol('s')]) {
    for (const method of ['state', 'stats', 'info', 'stopServer', 'restartServer', 'removeServer'] as const)
      calls.push([() => pool[method](odd(value)), /option server: got/]);
    calls.push([() => pool.request(odd(value), 'ping'), /option server: got/]);
    calls.push([() => pool.listAll('a', odd(value)), /option kind: got/]);
  }
  for (const value of [undefined, null, 5, 'x']) {
    calls.push([() => pool.addServer(odd(value)), /option server: got .*an object/]);
    calls.push([() => pool.startAll(odd(value)), /option servers: got .*iterable/]);
    calls.push([() => pool.apply(odd(value)), /option servers: got .*iterable/]);
    calls.push([() => pool.subscribe('a', {}, odd(value)), /option subscribe: got/]);
  }
  for (const value of [null, 5, 'x', []]) {
    calls.push([() => pool.listAll('a', 'tools', odd(value)), /option listAll: got/]);
    calls.push([() => pool.apply([], odd(value)), /option apply: got/]);
  }
  calls.push([() => pool.listAll('a', odd('__proto__')), /option kind: got "__proto__"/]);
  for (const [call, says] of calls) {
    const error = await Promise.resolve()
      .then(call)
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OptionError);
    expect(String(error)).toMatch(says);
  }
  expect(await pool.startAll([odd(null)])).toMatchObject({ failed: [{ error: { code: 'ERR_OPTION' } }] });
});

test.each([[['x']], ['x'], [5], [null]])(
  'params that are no object are refused by what they are: %j',
  async (params) => {
    const { pool } = memoryPool();
    pool.addServer(MEMORY);
    const lease = await pool.lease('s');
    const odd = params as never;
    for (const sent of [pool.request('s', 'echo', odd), lease.request('echo', odd)]) {
      await expect(sent).rejects.toThrow(/^option params: got .*, expected an object/);
      await expect(sent).rejects.toThrow(OptionError);
    }
    expect(() => encodeNotice('x', odd, undefined, { server: 's', maxMessageBytes: 100 })).toThrow(OptionError);
    lease.release();
  },
);
