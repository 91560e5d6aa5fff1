import { ConsecutiveBreaker, circuitBreaker, bulkhead as cockatielBulkhead, handleAll } from 'cockatiel';
import PQueue from 'p-queue';
import {
  AdaptiveLimit,
  type BalancePolicy,
  Balancer,
  Bulkhead,
  CircuitBreaker,
  hedge,
  LatencyWindow,
  OutlierDetector,
  RetryBudget,
} from '../src/concurrent/index.js';
import type { Bench } from './harness.js';

function done(got: number, wanted: number): void {
  if (got !== wanted) throw new Error(`${got} of ${wanted} were done`);
}

export async function suite(bench: Bench): Promise<void> {
  await breaker(bench);
  await picks(bench);
  await bulkheads(bench);
  await hedges(bench);
  await others(bench);
}

async function breaker(bench: Bench): Promise<void> {
  const ours = new CircuitBreaker();
  const watching = new CircuitBreaker({ failureRatio: 0.5 });
  const theirs = circuitBreaker(handleAll, { halfOpenAfter: 10_000, breaker: new ConsecutiveBreaker(10) });
  const work = async (): Promise<number> => 1;
  const figure = await bench.race(
    'a call through a closed breaker, the call one resolved promise',
    [
      {
        name: 'no breaker (floor)',
        run: async (operations) => {
          let got = 0;
          for (let i = 0; i < operations; i++) got += await work();
          done(got, operations);
        },
      },
      ...[
        { name: 'CircuitBreaker.enter', breaker: ours },
        { name: 'CircuitBreaker.enter, with a window', breaker: watching },
      ].map(({ name, breaker: one }) => ({
        name,
        run: async (operations: number) => {
          let got = 0;
          for (let i = 0; i < operations; i++) {
            const ticket = one.enter();
            got += await work();
            one.succeeded(ticket);
          }
          done(got, operations);
        },
      })),
      {
        name: 'CircuitBreaker.call',
        run: async (operations) => {
          let got = 0;
          for (let i = 0; i < operations; i++) got += await ours.call(work);
          done(got, operations);
        },
      },
      {
        name: 'cockatiel execute',
        run: async (operations) => {
          let got = 0;
          for (let i = 0; i < operations; i++) got += await theirs.execute(work);
          done(got, operations);
        },
      },
    ],
    { operations: 100_000 },
  );
  const ratio = figure('cockatiel execute').medianNs / figure('CircuitBreaker.enter').medianNs;
  bench.target('a closed breaker entered synchronously, against cockatiel', ratio, '>=', 2);
}

async function picks(bench: Bench): Promise<void> {
  const targets = Array.from({ length: 8 }, (_, i) => ({ id: `t${i}`, target: i }));
  const policies: readonly BalancePolicy[] = ['round-robin', 'least-loaded', 'p2c-ewma', 'failover', 'hash'];
  let turn = 0;
  await bench.race(
    'pick one of eight targets and end the call',
    [
      {
        name: 'array and counter, with two readings of the clock (floor)',
        run: (operations) => {
          let got = 0;
          for (let i = 0; i < operations; i++) {
            const from = performance.now();
            if (targets[turn++ % 8] !== undefined && performance.now() >= from) got++;
          }
          done(got, operations);
        },
      },
      ...policies.flatMap((policy) =>
        [undefined, new OutlierDetector()].map((outliers) => {
          const balancer = new Balancer({ targets, policy, ...(outliers && { outliers }) });
          return {
            name: `Balancer ${policy}${outliers === undefined ? '' : ', outliers watched'}`,
            run: (operations: number) => {
              let got = 0;
              for (let i = 0; i < operations; i++) {
                const pick = balancer.pick({ key: 'user-1' });
                if (pick === undefined) continue;
                pick.succeeded();
                got++;
              }
              done(got, operations);
            },
          };
        }),
      ),
    ],
    { operations: 100_000 },
  );
}

/** 64 calls at once, 10 of which run: what waits is most of it. */
async function bulkheads(bench: Bench): Promise<void> {
  const ours = new Bulkhead({ maxConcurrent: 10, maxQueue: Number.POSITIVE_INFINITY });
  const theirs = cockatielBulkhead(10, Number.POSITIVE_INFINITY);
  const queue = new PQueue({ concurrency: 10 });
  const work = (): Promise<number> => new Promise((resolve) => setImmediate(resolve, 1));
  const batches = (run: () => Promise<number>) => async (operations: number) => {
    let got = 0;
    for (let from = 0; from < operations; from += 64) {
      const all = await Promise.all(Array.from({ length: Math.min(64, operations - from) }, run));
      for (const each of all) got += each;
    }
    done(got, operations);
  };
  const figure = await bench.race(
    'a call through a bulkhead of 10, 64 at once',
    [
      { name: 'Bulkhead.run', run: batches(() => ours.run('tool', work)) },
      { name: 'cockatiel bulkhead', run: batches(() => theirs.execute(work)) },
      { name: 'p-queue', run: batches(() => queue.add(work) as Promise<number>) },
    ],
    { operations: 20_000 },
  );
  await ours.close();
  const best = Math.min(figure('cockatiel bulkhead').medianNs, figure('p-queue').medianNs);
  bench.target('a bulkhead, against the best peer', best / figure('Bulkhead.run').medianNs, '>=', 1);
}

/** No package of npm hedges: what it costs beside the call alone. */
async function hedges(bench: Bench): Promise<void> {
  const latencies = new LatencyWindow();
  for (let i = 0; i < 100; i++) latencies.record(50);
  const work = async (): Promise<number> => 1;
  const sum = (run: () => Promise<number>) => async (operations: number) => {
    let got = 0;
    for (let i = 0; i < operations; i++) got += await run();
    done(got, operations);
  };
  await bench.race(
    'a call that may be hedged and is not, the call one resolved promise',
    [
      { name: 'the call alone (floor)', run: sum(work) },
      { name: 'hedge', run: sum(() => hedge(work, { after: 'p95', latencies })) },
    ],
    { operations: 50_000 },
  );
}

async function others(bench: Bench): Promise<void> {
  const limit = new AdaptiveLimit();
  const bulkhead = new Bulkhead({ maxConcurrent: 10 });
  const budget = new RetryBudget();
  const latencies = new LatencyWindow();
  await bench.race(
    'the other parts, one operation',
    [
      {
        name: 'performance.now (floor)',
        run: (operations) => {
          let got = 0;
          for (let i = 0; i < operations; i++) if (performance.now() > 0) got++;
          done(got, operations);
        },
      },
      {
        name: 'AdaptiveLimit tryAcquire, succeeded',
        run: (operations) => {
          let got = 0;
          for (let i = 0; i < operations; i++) {
            const ticket = limit.tryAcquire();
            if (ticket === undefined) continue;
            limit.succeeded(ticket);
            got++;
          }
          done(got, operations);
        },
      },
      {
        name: 'Bulkhead tryAcquire, release',
        run: (operations) => {
          let got = 0;
          for (let i = 0; i < operations; i++) {
            const permit = bulkhead.tryAcquire('tool');
            if (permit === undefined) continue;
            permit.release();
            got++;
          }
          done(got, operations);
        },
      },
      {
        name: 'RetryBudget deposit',
        run: (operations) => {
          for (let i = 0; i < operations; i++) budget.deposit();
          done(budget.balance > 0 ? operations : 0, operations);
        },
      },
      {
        name: 'LatencyWindow record',
        run: (operations) => {
          for (let i = 0; i < operations; i++) latencies.record(i % 100);
          done(latencies.count > 0 ? operations : 0, operations);
        },
      },
    ],
    { operations: 200_000 },
  );
  await bulkhead.close();
}
