import { expect, test, vi } from 'vitest';
import { addGateway } from '../../src/gateway/addGateway.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { Health } from '../../src/shutdown/Health.js';
import { ShutdownPlan } from '../../src/shutdown/ShutdownPlan.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool, type FakeServer } from '../support/FakePool.js';
import { exchange, RawClient } from '../support/httpClient.js';

const get = async (url: string, headers: Record<string, string> = {}) => {
  const { status, text } = await exchange(url, { method: 'GET', headers });
  return { status, body: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> };
};

test('a server that is down makes it degraded, not unready; one that was removed is no longer asked', async () => {
  const two: FakeServer = { state: 'failed' };
  const pool = new FakePool({ one: {}, two });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const { url } = await gateway.listen();
  const { status, body } = await get(`${url}/readyz`);
  expect([status, body['status']]).toEqual([200, 'degraded']);
  expect(body['checks']).toMatchObject([
    { name: 'server one', ok: true, critical: false },
    { name: 'server two', ok: false, critical: false, error: 'failed' },
  ]);
  two.state = 'ready';
  // A state is remembered for a moment.
  await expect.poll(async () => (await get(`${url}/healthz`)).body['status']).toBe('ok');
  pool.remove('two');
  expect((await get(`${url}/readyz?verbose`)).body['checks']).toHaveLength(1);
  expect((await get(`${url}/livez`)).body).toMatchObject({ ok: true });
  expect((await get(`${url}/readyz`, { origin: 'http://evil.example' })).status).toBe(403);
});

test('for many that ask within a moment each server is looked at once', async () => {
  const pool = new FakePool({ one: {}, two: {} });
  const clock = new FakeClock();
  const gateway = closeAfter(new Gateway({ pool, port: 0, health: new Health({ clock }) }));
  // Not before: what tries failed servers again looks at each once.
  const looks = vi.spyOn(pool, 'state');
  const { url } = await gateway.listen();
  for (let i = 0; i < 3; i++) expect((await get(`${url}/readyz`)).body['status']).toBe('ok');
  expect(looks).toHaveBeenCalledTimes(2);
  await clock.advance(100);
  expect((await get(`${url}/readyz`)).body['status']).toBe('ok');
  expect(looks).toHaveBeenCalledTimes(4);
});

test('a health that was lent keeps its own checks, and loses those of the gateway when that closes', async () => {
  const health = new Health({ checks: { disk: { check: () => false, critical: true } } });
  const gateway = new Gateway({ pool: new FakePool({ one: {} }), port: 0, health });
  const { url } = await gateway.listen();
  expect((await get(`${url}/readyz`)).status).toBe(503);
  await gateway.close();
  expect((await health.ready()).checks.map(({ name }) => name)).toEqual(['disk']);
});

test('by a plan it is unready at once, serves on, then refuses and ends streams, answers what is in flight, and closes', async () => {
  const finish: (() => void)[] = [];
  const wait = () => new Promise((resolve) => finish.push(() => resolve({ done: true })));
  const pool = new FakePool({ one: { methods: { 'tools/call': wait, 'tools/list': () => ({ tools: [] }) } } });
  const plan = new ShutdownPlan();
  const gateway = closeAfter(new Gateway({ pool, port: 0, health: new Health({ plan }) }));
  addGateway(plan, gateway);
  const phases: (string | undefined)[] = [];
  const seen: unknown[] = [];
  const { url } = await gateway.listen();
  const client = new RawClient(`${url}/servers/one/mcp`);
  await client.initialize();
  const stream = await client.listen();
  plan.add(
    'look',
    async () => {
      seen.push((await get(`${url}/readyz`)).status, (await get(`${url}/livez`)).status);
      seen.push((await client.call('tools/list')).result);
    },
    { phase: 'unready' },
  );
  plan.add('closed', () => phases.push(plan.phase, String(gateway.stats.inFlight)), { phase: 'close' });
  const call = client.call('tools/call');
  await expect.poll(() => finish.length).toBe(1);
  const stopping = plan.shutdown();
  await stream.ended;
  expect(seen).toEqual([503, 200, { tools: [] }]);
  await expect(get(`${url}/livez`)).rejects.toThrow(/ECONNREFUSED/);
  expect(phases).toEqual([]);
  for (const each of finish) each();
  expect((await call).result).toEqual({ done: true });
  const report = await stopping;
  expect([report.ok, phases]).toEqual([true, ['close', '0']]);
  expect(report.steps.map(({ name }) => name)).toEqual([
    'gateway last call',
    'look',
    'gateway refuse',
    'gateway streams',
    'gateway',
    'closed',
  ]);
});
