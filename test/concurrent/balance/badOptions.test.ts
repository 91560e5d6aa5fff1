import { expect, test } from 'vitest';
import {
  Balancer,
  Bulkhead,
  hedge,
  LatencyWindow,
  MultiServerRateLimiter,
  OutlierDetector,
} from '../../../src/concurrent/index.js';

const NO_RECORDS = [5, null, [], 'x', Number.NaN, Symbol('s')];
const limits = { maxRequests: 1, windowMs: 1_000 };

test.each<readonly [string, () => unknown]>([
  ...NO_RECORDS.map(
    (perServer) => ['perServer', () => new MultiServerRateLimiter({ ...limits, perServer } as never)] as const,
  ),
  ...[5, null, 'x', [], -1].map(
    (a) => ['perServer.a', () => new MultiServerRateLimiter({ ...limits, perServer: { a } } as never)] as const,
  ),
  [
    'perServer.a.maxReqests',
    () => new MultiServerRateLimiter({ ...limits, perServer: { a: { maxReqests: 5 } } } as never),
  ],
  ...NO_RECORDS.map((perKey) => ['perKey', () => new Bulkhead({ maxConcurrent: 1, perKey } as never)] as const),
  ...[true, Symbol('s'), [0.5], '0.5', 1n].map(
    (failureRatio) => ['failureRatio', () => new OutlierDetector({ failureRatio } as never)] as const,
  ),
  ...[{}, 5, null, [], 'x'].map(
    (outliers) => ['outliers', () => new Balancer({ targets: [{ id: 'a', target: 1 }], outliers } as never)] as const,
  ),
  ['Bulkhead', () => new Bulkhead([] as never)],
])('%s of a wrong kind is refused by name, and never taken for none (%#)', (option, make) => {
  expect(make).toThrow(expect.objectContaining({ code: 'ERR_OPTION', option }));
});

test.each([
  ['after', { after: Number.NaN }],
  ['after', { after: -1 }],
  ['after', { after: Symbol('s') }],
  ['after', { after: { toString: 5 } }],
  ['after', { after: 'p5', latencies: new LatencyWindow() }],
  ['latencies', { latencies: {} }],
  ['latencies', {}],
  ['budget', { after: 1, budget: 5 }],
  ['signal', { after: 1, signal: {} }],
  ['maxAttempts', { after: 1, maxAttempts: 0 }],
  ['hedge.afterMs', { afterMs: 5 }],
  ['hedge', null],
])('hedge rejects with an OptionError for %s, as it rejects with everything (%#)', async (option, options) => {
  let ran = 0;
  const hedged = hedge(() => ++ran, options as never);
  await expect(hedged).rejects.toMatchObject({ code: 'ERR_OPTION', option });
  expect(ran).toBe(0);
});

test('hedge rejects when what it runs is no function', async () => {
  await expect(hedge(5 as never, { after: 1 })).rejects.toMatchObject({ code: 'ERR_OPTION', option: 'fn' });
});
