import type { Middleware } from '../src/connection/calls/Middleware.js';
import { PoolMiddleware } from '../src/connection/calls/PoolMiddleware.js';
import type { Params } from '../src/connection/protocol/messages.js';
import { systemClock } from '../src/core/clock.js';
import { silentLogger } from '../src/core/logger.js';
import { type Bench, type Figure, median } from './harness.js';

/** Middleware installed, by row. */
const ROWS: readonly (readonly [string, number])[] = [
  ['none installed', 0],
  ['one that does nothing', 1],
  ['five that do nothing', 5],
];
const noop: Middleware = (_call, next) => next();

/** What stands around a call costs: the same asynchronous answer with none, one and five middlewares, in turns. */
export async function middlewareCost(bench: Bench): Promise<void> {
  const calls = bench.quick ? 50_000 : 200_000;
  const turns = bench.quick ? 5 : 9;
  const answer = Buffer.from('{"content":[]}');
  const send = async (_params: Params | undefined): Promise<unknown> => answer;
  const params = { name: 'echo', arguments: { text: 'x' } };
  const options = { raw: true };
  const stacks = ROWS.map(([, count]) => {
    const stack = new PoolMiddleware({ logger: silentLogger, clock: systemClock }, () => undefined);
    for (let i = 0; i < count; i++) stack.use(noop);
    return stack;
  });
  // As the pool does it: with none, one comparison and the call itself.
  const call = (stack: PoolMiddleware): Promise<unknown> =>
    stack.empty ? send(params) : stack.request('echo', 'tools/call', params, options, send);
  const times = ROWS.map((): number[] => []);
  const cpu = ROWS.map((): number[] => []);
  for (let turn = 0; turn <= turns; turn++) {
    for (const [at, stack] of stacks.entries()) {
      bench.stopping.throwIfAborted();
      const used = process.cpuUsage();
      const startNs = process.hrtime.bigint();
      for (let i = 0; i < calls; i++) if ((await call(stack)) !== answer) throw new Error('another answer');
      const ns = Number(process.hrtime.bigint() - startNs) / calls;
      const { user, system } = process.cpuUsage(used);
      // The first turn warms up.
      if (turn > 0) times[at]?.push(ns);
      if (turn > 0) cpu[at]?.push(((user + system) * 1_000) / calls);
    }
  }
  const figures = ROWS.map(([name], at): Figure => {
    const all = times[at] ?? [];
    return {
      name,
      medianNs: median(all),
      minNs: Math.min(...all),
      maxNs: Math.max(...all),
      cpuNs: median(cpu[at] ?? []),
    };
  });
  const of = bench.result('what middleware costs a call', turns, figures);
  const none = of('none installed').cpuNs;
  bench.target(
    'one middleware that does nothing, us of CPU a call',
    (of('one that does nothing').cpuNs - none) / 1_000,
    '<=',
    1,
  );
  bench.target('five that do nothing, us of CPU a call', (of('five that do nothing').cpuNs - none) / 1_000, '<=', 5);
}
