import { BasicTracerProvider } from '@opentelemetry/sdk-trace-base';
import { expect, vi } from 'vitest';
import { Bulkhead } from '../../../src/concurrent/balance/Bulkhead.js';
import { type HedgeOptions, hedge } from '../../../src/concurrent/balance/hedge.js';
import { LatencyWindow } from '../../../src/concurrent/balance/LatencyWindow.js';
import type { Limiter } from '../../../src/concurrent/limiter/Limiter.js';
import { MultiServerRateLimiter } from '../../../src/concurrent/limiter/MultiServerRateLimiter.js';
import type { Connection } from '../../../src/connection/Connection.js';
import { MiddlewareChain } from '../../../src/connection/calls/MiddlewareChain.js';
import { BackingOffError, OptionError, RateLimitedError } from '../../../src/core/errors.js';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { limit } from '../../../src/middleware/ready/limit.js';
import { OpenTelemetry } from '../../../src/observe/index.js';
import { UnifiedPool } from '../../../src/pool/UnifiedPool.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { NoOpCache } from '../../../src/toolstore/NoOpCache.js';
import { closeAfter } from '../closeAfter.js';
import { FakePool } from '../FakePool.js';
import { RawClient } from '../httpClient.js';
import { rawPool, tool as rawTool } from '../httpPool.js';
import { MemoryConnector, memoryPool } from '../memoryPool.js';
import { BOTH, failure, listed, logged, logger, planted, SERVER, thrower } from './planted.js';

/** A part of a user's own, one of whose methods fails. */
function failing<T extends object>(part: T, method: string, fail: () => unknown): T {
  return new Proxy(part, {
    get(target, name) {
      if (name === method) return fail;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** An answer by a promise, where one at once is needed, is a wrong option. */
const isPlantedOrTyped = (error: unknown): boolean =>
  planted(error) || error instanceof OptionError || error instanceof BackingOffError;

/** A limiter without a limit, but for what is its own. */
function limiterOf(own: object): Limiter {
  const limiter = {
    tryAcquire: () => true,
    acquire: async () => undefined,
    pauseFor: () => undefined,
    for: () => limiter as Limiter,
    close: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
    ...own,
  };
  return limiter;
}

/** How a call ended to which its server said 429. */
async function refused(limiter: Limiter): Promise<unknown> {
  const { pool } = await rawPool(
    {
      before: ({ res, message }) =>
        message?.method === 'tools/call' && !!res.writeHead(429, { 'retry-after': '2' }).end(),
    },
    { limiter, logger },
  );
  return failure(rawTool(pool, 'echo', { text: 'a' }));
}

/** OpenTelemetry over a pool, with parts of which one fails; how many process warnings that made. */
async function traced(options: object): Promise<number> {
  const warned = vi.spyOn(process, 'emitWarning').mockReturnValue(undefined);
  const { pool, call } = memoryPool();
  pool.addServer(SERVER);
  using _ = await OpenTelemetry.start({ pool, ...options });
  for (let i = 0; i < 2; i++) expect(await call('echo')).toMatchObject({ name: 'echo' });
  await pool.close({ graceMs: 0 });
  const told = warned.mock.calls.length;
  warned.mockRestore();
  return told;
}

/** What a throw does in the methods of parts that users make themselves and hand in, by `Type.method` or `option.method`. */
export const partHooks: Readonly<Record<string, () => unknown>> = {
  'Limiter.tryAcquire': async () => {
    // One that is async gives no permit, whatever it says.
    for (const tryAcquire of [...BOTH, async () => true]) {
      const { pool, call, connector } = memoryPool({ limiter: limiterOf({ tryAcquire }) });
      pool.addServer(SERVER);
      expect(isPlantedOrTyped(await failure(call('echo')))).toBe(true);
      expect(connector.made.flatMap((each) => each.calls)).toEqual([]);
    }
  },
  'Limiter.pauseFor': async () => {
    for (const pauseFor of BOTH) {
      expect(await refused(limiterOf({ pauseFor }))).toBeInstanceOf(RateLimitedError);
      expect(logged.splice(0)).toHaveLength(1);
    }
  },
  'budget.deposit and tryWithdraw of hedge': async () => {
    for (const fail of BOTH) {
      for (const name of ['deposit', 'tryWithdraw']) {
        const clock = new FakeClock();
        const budget = { deposit: () => undefined, tryWithdraw: () => true, [name]: fail };
        const call = failure(hedge(() => new Promise(() => undefined), { after: 5, clock, budget }));
        await clock.advance(5);
        const error = await call;
        expect(isPlantedOrTyped(error)).toBe(true);
        expect(clock.armedTimers).toBe(0);
      }
    }
  },
  'latencies.record and quantile of hedge': async () => {
    for (const fail of BOTH) {
      for (const name of ['record', 'quantile']) {
        const latencies = new LatencyWindow();
        for (let i = 0; i < 30; i++) latencies.record(5);
        const options: HedgeOptions = { latencies: failing(latencies, name, fail) };
        const error = await failure(hedge(async () => 'answer', options));
        expect(isPlantedOrTyped(error)).toBe(true);
      }
    }
  },
  'rate.tryAcquire and acquire, bulkhead.tryAcquire and acquire of limit': async () => {
    const rate = closeAfter(new MultiServerRateLimiter({ maxRequests: 1, windowMs: 1_000 }));
    const bulkhead = closeAfter(new Bulkhead({ maxConcurrent: 1 }));
    const full = { tryAcquire: () => undefined };
    for (const fail of BOTH) {
      for (const part of [
        { rate: failing(rate, 'tryAcquire', fail) },
        { rate: failing({ ...full, acquire: fail } as never, '', fail) },
        { bulkhead: failing(bulkhead, 'tryAcquire', fail) },
        { bulkhead: failing({ ...full, acquire: fail } as never, '', fail) },
      ]) {
        const chain = new MiddlewareChain();
        chain.use(limit(part));
        const error = await failure(listed(chain));
        expect(isPlantedOrTyped(error)).toBe(true);
      }
    }
  },
  'OpenTelemetryOptions.tracerProvider': async () => {
    const quiet = {
      onStart: () => undefined,
      onEnd: () => undefined,
      shutdown: async () => undefined,
      forceFlush: async () => undefined,
    };
    for (const name of ['onStart', 'onEnd'])
      expect(
        await traced({ tracerProvider: new BasicTracerProvider({ spanProcessors: [{ ...quiet, [name]: thrower }] }) }),
      ).toBe(1);
    const sampler = { shouldSample: thrower, toString: () => 'none' };
    expect(await traced({ tracerProvider: new BasicTracerProvider({ sampler }) })).toBe(1);
    for (const name of ['startSpan', 'spanContext', 'setAttributes', 'end']) {
      const context = { traceId: '1'.repeat(32), spanId: '1'.repeat(16), traceFlags: 1 };
      const span: object = {
        spanContext: () => context,
        setAttributes: () => span,
        setStatus: () => span,
        end: () => undefined,
        [name]: thrower,
      };
      const tracer = { startSpan: () => span, [name]: thrower };
      expect(await traced({ tracerProvider: { getTracer: () => tracer } })).toBe(1);
    }
  },
  'OpenTelemetryOptions.meterProvider': async () => {
    const instrument = { record: thrower, add: thrower };
    const meter = { createHistogram: () => instrument };
    expect(await traced({ meterProvider: { getMeter: () => meter } })).toBe(1);
  },
  'Connection request notify close onClose onNotification setRequestHandler': async () => {
    for (const fail of BOTH) {
      for (const name of ['request', 'notify', 'close', 'onClose', 'onNotification', 'setRequestHandler']) {
        const connector = new MemoryConnector();
        const wrapConnection = (made: Connection): Connection => failing(made, name, fail);
        const pool = new UnifiedPool({ connectors: [connector], wrapConnection, logger });
        pool.addServer(SERVER);
        const answer = await pool.callTool('s', 'echo').catch((error: unknown) => error);
        expect(isPlantedOrTyped(answer) || (answer as { name?: unknown }).name === 'echo').toBe(true);
        await pool.notify('s', 'notifications/x').catch((error: unknown) => expect(isPlantedOrTyped(error)).toBe(true));
        connector.made.at(-1)?.say({ method: 'notifications/tools/list_changed' });
        connector.made.at(-1)?.say({ id: 9, method: 'roots/list' });
        expect(pool.stats('s')).toMatchObject({ inFlight: 0 });
        await pool.close({ graceMs: 0 }).catch((error: unknown) => expect(isPlantedOrTyped(error)).toBe(true));
        expect(connector.live).toEqual([]);
      }
    }
  },
  'Connector connect attributes kill memoryBytes close; connectors.connect': async () => {
    for (const fail of BOTH) {
      for (const name of ['connect', 'attributes', 'kill', 'memoryBytes', 'close']) {
        const connector = new MemoryConnector();
        const pool = new UnifiedPool({ connectors: [failing(connector, name, fail)], logger });
        const added = await failure((async () => pool.addServer(SERVER))());
        if (pool.hasServer('s')) {
          const answer = await pool.callTool('s', 'echo').catch((error: unknown) => error);
          expect(isPlantedOrTyped(answer) || (answer as { name?: unknown }).name === 'echo').toBe(true);
          for (const look of ['stats', 'inspect'] as const) {
            const looked = await failure((async () => pool[look]('s'))());
            expect(looked === 'no failure' || isPlantedOrTyped(looked)).toBe(true);
          }
        } else expect(isPlantedOrTyped(added)).toBe(true);
        await pool.close({ graceMs: 0 }).catch((error: unknown) => expect(isPlantedOrTyped(error)).toBe(true));
        expect(connector.live).toEqual([]);
      }
    }
  },
  'ToolStore of a Gateway: getTools lookupTools setTools invalidate listServers getOrLoadTools set delete eraStore close':
    async () => {
      for (const fail of BOTH) {
        const names = ['getTools', 'lookupTools', 'setTools', 'invalidate', 'listServers', 'getOrLoadTools', 'set'];
        for (const name of [...names, 'delete', 'eraStore', 'close']) {
          const pool = new FakePool({ one: { lists: { tools: [] } } });
          const cache = failing(closeAfter(new NoOpCache()), name, fail);
          const gateway = closeAfter(new Gateway({ pool, port: 0, logger, cache }));
          const client = new RawClient(`${(await gateway.listen()).url}/mcp`);
          await client.initialize();
          expect(await client.call('tools/list')).toMatchObject({ result: { tools: [] } });
          pool.emit('notification', { server: 'one', notice: { method: 'notifications/tools/list_changed' } });
          pool.emit('state', { server: 'one', state: 'ready', previous: 'failed' } as never);
          expect(await client.call('tools/list')).toMatchObject({ result: { tools: [] } });
          await gateway.close({ graceMs: 0 }).catch((error: unknown) => expect(isPlantedOrTyped(error)).toBe(true));
        }
      }
    },
};
