import { createServer } from 'node:http';
import { expect, test } from 'vitest';
import { closeHttpServer, Health, type HealthState, ShutdownPlan } from '../../src/shutdown/index.js';
import { FakeClock } from '../../src/testing/FakeClock.js';

const fails = (): never => {
  throw new Error('connection refused');
};

test('without checks it is alive and ready', async () => {
  const health = new Health();
  const well = { ok: true, status: 'ok', checks: [] };
  expect([await health.live(), await health.ready()]).toEqual([well, well]);
});

test('one upstream down makes it degraded, a critical one unready, a live one dead', async () => {
  const clock = new FakeClock();
  const health = new Health({ clock, checks: { disk: () => true, search: async () => fails() } });
  expect(await health.ready()).toEqual({
    ok: true,
    status: 'degraded',
    checks: [
      { name: 'disk', ok: true, critical: false, ms: 0, ageMs: 0 },
      { name: 'search', ok: false, critical: false, ms: 0, ageMs: 0, error: 'connection refused' },
    ],
  });
  const database = health.add('database', { check: () => false, critical: true });
  expect(await health.ready()).toMatchObject({ ok: false, status: 'unready' });
  expect(await health.live()).toEqual({ ok: true, status: 'ok', checks: [] });
  database[Symbol.dispose]();
  expect(await health.ready()).toMatchObject({ ok: true, status: 'degraded' });
  health.add('heap', { check: fails, live: true });
  expect(await health.live()).toMatchObject({ ok: false, status: 'dead', checks: [{ name: 'heap', ok: false }] });
  expect(() => health.add('heap', fails)).toThrow(/no other check/);
});

test('checks run in parallel, bounded in time, once however many ask, and are cached', async () => {
  const clock = new FakeClock();
  let runs = 0;
  let end: () => void = () => undefined;
  const slow = (): Promise<void> => {
    runs++;
    return new Promise((resolve) => {
      end = resolve;
    });
  };
  const health = new Health({
    clock,
    checks: { slow: { check: slow, timeoutMs: 100, cacheMs: 1_000 }, quick: () => 1 },
  });
  const both = Promise.all([health.ready(), health.ready()]);
  await clock.advance(100);
  const [first, second] = await both;
  expect(first).toEqual(second);
  expect(first?.checks.map((line) => [line.name, line.ok])).toEqual([
    ['slow', false],
    ['quick', true],
  ]);
  expect(first?.checks[0]?.error).toMatch(/still running after 100 ms/);
  await health.ready();
  expect(runs).toBe(1);
  // While the abandoned run goes on, no other is started beside it.
  await clock.advance(1_000);
  expect((await health.ready()).checks[0]?.error).toBe('still running after 1100 ms');
  expect(runs).toBe(1);
  end();
  await clock.advance(1_000);
  const healed = health.ready();
  await clock.advance(0);
  end();
  expect((await healed).status).toBe('ok');
  expect([runs, clock.armedTimers]).toEqual([2, 0]);
});

test('from the first moment of shutdown it is not ready, runs no check, and stays alive', async () => {
  const plan = new ShutdownPlan({ clock: new FakeClock() });
  let runs = 0;
  const health = new Health({ plan, clock: new FakeClock(), checks: { counted: () => void runs++ } });
  expect((await health.ready()).ok).toBe(true);
  const done = plan.shutdown();
  expect(await health.ready()).toMatchObject({
    ok: false,
    status: 'stopping',
    checks: [{ name: 'counted', ok: true }],
  });
  expect((await health.live()).ok).toBe(true);
  expect(runs).toBe(1);
  await done;
  expect((await health.ready()).ok).toBe(false);
});

test('a shutdown that begins while checks run is not missed', async () => {
  const plan = new ShutdownPlan({ clock: new FakeClock() });
  let end: () => void = () => undefined;
  const check = (): Promise<void> =>
    new Promise((resolve) => {
      end = resolve;
    });
  const health = new Health({ plan, clock: new FakeClock(), checks: { slow: check } });
  const ready = health.ready();
  const done = plan.shutdown();
  end();
  expect((await ready).status).toBe('stopping');
  await done;
});

const cases: readonly (readonly [string, string, number])[] = [
  ['GET', '/livez', 200],
  ['GET', '/readyz?verbose', 503],
  ['GET', '/healthz', 503],
  ['HEAD', '/readyz', 503],
  ['POST', '/livez', 405],
  ['GET', '/other', 404],
];

test('both handlers answer the probes with the status Kubernetes reads and the state as JSON', async () => {
  const health = new Health({ checks: { database: { check: fails, critical: true } } });
  const server = createServer((request, response) => {
    if (!health.nodeHandler(request, response)) response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  for (const [method, path, status] of cases) {
    const url = `http://127.0.0.1:${port}${path}`;
    for (const response of [await fetch(url, { method }), await health.fetchHandler(new Request(url, { method }))]) {
      expect([method, path, response.status]).toEqual([method, path, status]);
      const body = await response.text();
      if (method === 'GET' && status !== 404) {
        expect((JSON.parse(body) as HealthState).ok).toBe(status === 200);
        expect(response.headers.get('cache-control')).toBe('no-store');
      } else expect(body).toBe('');
    }
  }
  await closeHttpServer(server);
});
