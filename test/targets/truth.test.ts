import { expect, test } from 'vitest';
import type { BalancePolicy } from '../../src/concurrent/index.js';
import type { McpPool } from '../../src/pool/McpPool.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { check, type FakeServerOptions, fakeServer, History, record } from '../../src/testing/index.js';
import { closeAfter } from '../support/closeAfter.js';

const FAULTS: FakeServerOptions['plan'] = {
  seed: 7,
  rules: [
    { method: 'tools/call', fault: 'status', status: 503, probability: 0.1 },
    { method: 'tools/call', fault: 'status', status: 429, retryAfter: 0, probability: 0.05 },
    { method: 'tools/call', fault: 'resetAfterHeaders', probability: 0.1 },
    { method: 'tools/call', fault: 'resetBeforeHeaders', probability: 0.1 },
    { method: 'tools/call', fault: 'sessionLost', probability: 0.03 },
    { method: 'tools/call', fault: 'refused', delayMs: 20, probability: 0.03 },
  ],
};

/** Seeded: the same calls and answers in every run, but for the order in which they come. */
test.each<[BalancePolicy, 'shared' | 'bound', number | undefined]>([
  ['p2c-ewma', 'shared', 2],
  ['round-robin', 'shared', undefined],
  ['least-loaded', 'bound', undefined],
])('the history of %s, %s, hedged after %s ms, convicts no one', async (balance, sharing, after) => {
  const history = new History();
  const servers = ['a', 'b', 'c'].map((name, index) =>
    closeAfter(
      fakeServer({
        name,
        tools: { run: { serviceMs: { uniform: [0, 6] } } },
        ...(index < 2 && { plan: FAULTS }),
        onEvent: (event) => history.merge(JSON.stringify(event)),
      }),
    ),
  );
  const urls = await Promise.all(servers.map(async (server) => (await server.listen()).url));
  const pool = record<McpPool>(closeAfter(new UnifiedPool()), history);
  pool.addServer({
    name: 'app',
    targets: urls.map((url) => ({ url, transport: 'http' })),
    balance,
    sharing,
    retryRatio: 1,
    ...(after !== undefined && { hedge: { after } }),
  });
  let answered = 0;
  const one = async (i: number): Promise<void> => {
    const options = { idempotent: i % 2 === 0, caller: { key: `k${i % 7}` } };
    await pool.callTool('app', 'run', { i }, options).then(
      () => answered++,
      () => undefined,
    );
  };
  for (let batch = 0; batch < 15; batch++) await Promise.all(Array.from({ length: 10 }, (_, i) => one(10 * batch + i)));
  const { spread } = pool.stats('app');
  await pool.close();
  history.end();
  const verdict = check(history);
  verdict.assert();
  expect(answered).toBeGreaterThan(sharing === 'shared' ? 110 : 60);
  // It was not for want of attempts.
  if (sharing === 'shared') expect((spread?.retries ?? 0) + (spread?.hedges ?? 0)).toBeGreaterThan(4);
});
