import { expect, test } from 'vitest';
import { targetProblems, transportOf, withAllTargets } from '../../src/cli/doctor/targets.js';
import { statusLines } from '../../src/cli/status/render.js';
import type { StatusData } from '../../src/gateway/status/StatusData.js';
import { StatusHistory } from '../../src/gateway/status/StatusHistory.js';
import { serverRows } from '../../src/gateway/status/snapshot.js';
import { Instrument } from '../../src/observe/Instrument.js';
import { prometheusRegistry } from '../../src/observe/prometheus.js';
import { idempotent, many, pool, several, upstream, who } from '../support/upstreams.js';

const FAILS = { seed: 1, rules: [{ method: 'tools/call', fault: 'status', status: 503 }] } as const;

test('targets are seen in metrics, on the status page and by `status`: which is ejected, and no secret', async () => {
  const [good, bad, mirror] = await Promise.all([
    upstream('good'),
    upstream('bad', { plan: FAILS }),
    upstream('mirror'),
  ]);
  const of = pool();
  const instrument = new Instrument({ pool: of });
  const secret = (url: string): string => url.concat('?token=secret');
  const targets = [{ url: secret(good.url), zone: 'eu' }, { url: secret(bad.url) }];
  of.addServer(several(targets, { balance: 'round-robin', mirror: { to: { url: mirror.url }, ratio: 0 } }));
  expect(await many(20, () => who(of, idempotent))).toEqual({ good: 20 });
  const [a, b, m] = of.stats('app').targets?.map(({ id }) => id) ?? [];
  const lines = (await (await prometheusRegistry(instrument)).metrics()).split('\n');
  const value = (name: string): string | undefined =>
    lines
      .find((line) => line.startsWith(name))
      ?.split(' ')
      .at(-1);
  expect(value(`mcp_poolkit_target_ejected{server="app",target="${b}"}`)).toBe('1');
  expect(value(`mcp_poolkit_target_ejected{server="app",target="${a}"}`)).toBe('0');
  expect(Number(value(`mcp_poolkit_target_picks_total{server="app",target="${a}"}`))).toBe(20);
  expect(Number(value('mcp_poolkit_target_retries_total{server="app",outcome="retried"}'))).toBeGreaterThan(0);
  // A call is one call, whatever its attempts.
  expect(value('mcp_poolkit_calls_total{server="app",method="tools/call",tool="who",outcome="ok"}')).toBe('20');
  const [row] = serverRows(of, instrument, new StatusHistory(of, (name) => instrument.series(name)));
  const [p50, p99] = [expect.any(Number), expect.any(Number)];
  expect(row).toMatchObject({ name: 'app', transport: '2 targets', calls: 20, errors: 0, p50, p99 });
  expect(row?.targets).toMatchObject([
    { id: a, zone: 'eu', backInMs: 0, p50, p99 },
    // What its failures count as is no time that it took.
    { id: b, zone: null, p50: null, p99: null, ewmaMs: expect.any(Number) },
    { id: m, role: 'mirror', p50: null },
  ]);
  expect(row?.targets?.[1]?.backInMs).toBeGreaterThan(0);
  const snapshot = {
    gateway: {},
    process: { delayP99: 0 },
    servers: [row],
    open: [],
    openMore: 0,
    version: '1',
    at: 1,
    startedAt: 0,
  };
  const shown = statusLines({ snapshot, events: [] } as unknown as StatusData).join('\n');
  expect(shown).toMatch(new RegExp(`${a} \\(eu\\) +ready`));
  expect(shown).toMatch(new RegExp(`${b} +ready, left alone for \\d s +\\d+ +- +- +\\d`));
  expect(JSON.stringify([lines, row, shown, of.stats('app')])).not.toContain('secret');
  instrument[Symbol.dispose]();
});

test('doctor names the targets that are not up, those that stand by included', async () => {
  const good = await upstream('good');
  const of = pool();
  const config = several([{ url: good.url }, { command: 'no-such-program' }], { balance: 'failover' });
  of.addServer(withAllTargets(config));
  await of.startServer('app');
  expect(await targetProblems(of, 'app', new AbortController().signal)).toEqual([
    expect.stringMatching(/^target no-such-program: .*no-such-program/),
  ]);
  expect(transportOf(config)).toBe('2 targets');
});
