import Bottleneck from 'bottleneck';
import { RateLimiter as LimiterRateLimiter } from 'limiter';
import PQueue from 'p-queue';
import pThrottle from 'p-throttle';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import { MultiServerRateLimiter, RateLimiter } from '../src/concurrent/index.js';
import type { Bench } from './harness.js';

const SERVERS = 10_000;
const QUEUED = 20_000;

function done(got: number, wanted: number): void {
  if (got !== wanted) throw new Error(`${got} of ${wanted} were granted`);
}

/** A limit that is never reached, at any speed that a call can have. */
const WIDE = { maxRequests: 1_000_000, windowMs: 5 };

export async function suite(bench: Bench): Promise<void> {
  await granted(bench);
  await refused(bench);
  await servers(bench);
  await atRest(bench);
  await queued(bench);
}

async function granted(bench: Bench): Promise<void> {
  const ours = new RateLimiter(WIDE);
  const limiter = new LimiterRateLimiter({ tokensPerInterval: WIDE.maxRequests, interval: WIDE.windowMs });
  const flexible = new RateLimiterMemory({ points: Number.MAX_SAFE_INTEGER, duration: 1 });
  const bottleneck = new Bottleneck();
  const figure = await bench.race(
    'one permit at once, the limit not reached',
    [
      {
        name: 'RateLimiter.tryAcquire',
        run: (operations) => {
          let got = 0;
          for (let i = 0; i < operations; i++) if (ours.tryAcquire()) got++;
          done(got, operations);
        },
      },
      {
        name: 'performance.now (floor)',
        run: (operations) => {
          let got = 0;
          for (let i = 0; i < operations; i++) if (performance.now() > 0) got++;
          done(got, operations);
        },
      },
      {
        name: 'limiter tryRemoveTokens',
        run: (operations) => {
          let got = 0;
          for (let i = 0; i < operations; i++) if (limiter.tryRemoveTokens(1)) got++;
          done(got, operations);
        },
      },
      {
        name: 'rate-limiter-flexible consume',
        run: async (operations) => {
          let got = 0;
          for (let i = 0; i < operations; i++) {
            await flexible.consume('server');
            got++;
          }
          done(got, operations);
        },
      },
      {
        name: 'bottleneck check',
        operations: 250,
        run: async (operations) => {
          let got = 0;
          for (let i = 0; i < operations; i++) if (await bottleneck.check()) got++;
          done(got, operations);
        },
      },
    ],
    { operations: 500_000 },
  );
  const { medianNs } = figure('RateLimiter.tryAcquire');
  bench.target('tryAcquire faster than limiter', figure('limiter tryRemoveTokens').medianNs / medianNs, '>=', 1.8);
  bench.target(
    'tryAcquire faster than rate-limiter-flexible',
    figure('rate-limiter-flexible consume').medianNs / medianNs,
    '>=',
    3,
  );
  await ours.close();
  await bottleneck.disconnect();
}

async function refused(bench: Bench): Promise<void> {
  const ours = new RateLimiter({ maxRequests: 100, windowMs: 3_600_000 });
  const limiter = new LimiterRateLimiter({ tokensPerInterval: 100, interval: 3_600_000 });
  for (let i = 0; i < 100; i++) done(Number(ours.tryAcquire()) + Number(limiter.tryRemoveTokens(1)), 2);
  await bench.race(
    'no permit: the window is full',
    [
      {
        name: 'RateLimiter.tryAcquire',
        run: (operations) => {
          let got = 0;
          for (let i = 0; i < operations; i++) if (ours.tryAcquire()) got++;
          done(got, 0);
        },
      },
      {
        name: 'limiter tryRemoveTokens',
        run: (operations) => {
          let got = 0;
          for (let i = 0; i < operations; i++) if (limiter.tryRemoveTokens(1)) got++;
          done(got, 0);
        },
      },
    ],
    { operations: 500_000 },
  );
  await ours.close();
}

async function servers(bench: Bench): Promise<void> {
  const one = new MultiServerRateLimiter(WIDE);
  const many = new MultiServerRateLimiter({ ...WIDE, maxServers: SERVERS });
  const names = Array.from({ length: SERVERS }, (_, i) => `server-${i}`);
  const figure = await bench.race(
    'MultiServerRateLimiter.tryAcquire',
    [
      {
        name: '1 server',
        run: (operations) => {
          let got = 0;
          for (let i = 0; i < operations; i++) if (one.tryAcquire('server')) got++;
          done(got, operations);
        },
      },
      {
        name: `${SERVERS} servers in turn`,
        run: (operations) => {
          let got = 0;
          for (let i = 0; i < operations; i++) if (many.tryAcquire(names[i % SERVERS] as string)) got++;
          done(got, operations);
        },
      },
    ],
    { operations: 500_000 },
  );
  const ratio = figure(`${SERVERS} servers in turn`).medianNs / figure('1 server').medianNs;
  bench.target(`${SERVERS} servers against one`, ratio, '<=', 3);
  await one.close();
  await many.close();
}

async function atRest(bench: Bench): Promise<void> {
  const ours = new RateLimiter(WIDE);
  const bottleneck = new Bottleneck();
  const queue = new PQueue({ interval: 1_000, intervalCap: Number.MAX_SAFE_INTEGER });
  const throttled = pThrottle({ limit: Number.MAX_SAFE_INTEGER, interval: 1_000 })(async () => 1);
  const one = async (operations: number, schedule: () => Promise<number>): Promise<void> => {
    let got = 0;
    for (let i = 0; i < operations; i++) got += await schedule();
    done(got, operations);
  };
  const figure = await bench.race(
    'schedule, one after the other',
    [
      { name: 'RateLimiter.schedule', run: (n) => one(n, () => ours.schedule(() => 1)) },
      { name: 'bottleneck schedule', operations: 40, run: (n) => one(n, () => bottleneck.schedule(async () => 1)) },
      { name: 'p-queue add', run: (n) => one(n, () => queue.add(() => 1)) },
      { name: 'p-throttle', operations: 200, run: (n) => one(n, () => throttled()) },
    ],
    { operations: 20_000 },
  );
  const ratio = figure('bottleneck schedule').medianNs / figure('RateLimiter.schedule').medianNs;
  bench.target('schedule at rest: latency of bottleneck', ratio, '>=', 500);
  await ours.close();
  await bottleneck.disconnect();
}

async function queued(bench: Bench): Promise<void> {
  const all = async (operations: number, schedule: () => Promise<number>): Promise<void> => {
    const results = await Promise.all(Array.from({ length: operations }, schedule));
    done(
      results.reduce((sum, each) => sum + each, 0),
      operations,
    );
  };
  const figure = await bench.race(
    `schedule, ${QUEUED} at once`,
    [
      {
        name: 'RateLimiter.schedule',
        run: async (operations) => {
          const ours = new RateLimiter({ maxRequests: QUEUED, windowMs: 3_600_000, maxQueue: QUEUED });
          ours.tryAcquire(QUEUED);
          const results = all(operations, () => ours.schedule(() => 1, { acquireTimeoutMs: Number.POSITIVE_INFINITY }));
          // The window was full when they came: all of them wait.
          done(ours.blockedCount, operations);
          ours.reset();
          await results;
          await ours.close();
        },
      },
      {
        name: 'p-queue add',
        run: (operations) => {
          const queue = new PQueue({ concurrency: 100 });
          return all(operations, () => queue.add(() => 1));
        },
      },
      {
        name: 'p-throttle',
        run: (operations) => {
          const throttled = pThrottle({ limit: operations, interval: 50 })(async () => 1);
          return all(operations, () => throttled());
        },
      },
      {
        // It takes most of a minute for 20,000; fewer in its queue flatter it.
        name: 'bottleneck schedule',
        operations: 200,
        run: async (operations) => {
          const bottleneck = new Bottleneck();
          await all(operations, () => bottleneck.schedule(async () => 1));
          await bottleneck.disconnect();
        },
      },
    ],
    { operations: QUEUED },
  );
  const ratio = figure('bottleneck schedule').medianNs / figure('RateLimiter.schedule').medianNs;
  bench.target(`throughput of schedule with ${QUEUED} queued, against bottleneck with 200`, ratio, '>=', 20);
}
