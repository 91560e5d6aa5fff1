import { expect, test } from 'vitest';
import { StdioPool } from '../../src/pool/StdioPool.js';
import { check, History, record } from '../../src/testing/index.js';
import { closeAfter } from '../support/closeAfter.js';
import { freePort } from '../support/httpServers.js';
import { RawServer } from '../support/rawServer.js';
import { fixture } from '../support/servers.js';
import { idempotent, many, pool, several, upstream, who } from '../support/upstreams.js';

/** A URL that nothing listens at. */
const nowhere = async (): Promise<string> => `http://127.0.0.1:${await freePort()}/mcp`;

test('targets of every transport stand behind one name, and each gets its turn', async () => {
  const [http, sse] = await Promise.all([upstream('http'), upstream('sse')]);
  const of = pool();
  of.addServer(
    several(
      [
        { url: http.url, transport: 'http' },
        { command: process.execPath, args: [fixture('echo-server.mjs')] },
        { url: sse.sseUrl, transport: 'sse' },
        { url: http.url },
      ],
      { balance: 'round-robin' },
    ),
  );
  await of.startServer('app');
  expect(of.state('app')).toBe('ready');
  await expect.poll(() => of.stats('app').targets?.every(({ state }) => state === 'ready')).toBe(true);
  for (let i = 0; i < 8; i++) await of.request('app', 'ping');
  const { targets = [], spread, connections, name } = of.stats('app');
  expect(name).toBe('app');
  expect(targets.map(({ id }) => id)).toEqual([
    new URL(http.url).host,
    'node',
    new URL(sse.url).host,
    `${new URL(http.url).host}#2`,
  ]);
  expect(targets.map(({ picked }) => picked)).toEqual([2, 2, 2, 2]);
  expect(targets.every(({ state, role }) => state === 'ready' && role === 'target')).toBe(true);
  expect(connections).toBe(4);
  expect(spread).toMatchObject({ balance: 'round-robin', retries: 0 });
});

test('failover goes to the next target while the first cannot be reached, and loses no call that never ran', async () => {
  const [first, second] = await Promise.all([upstream('first'), upstream('second')]);
  const of = pool();
  of.addServer(several([{ url: first.url }, { url: second.url }], { balance: 'failover' }));
  expect(await many(3, () => who(of))).toEqual({ first: 3 });
  expect(of.stats('app').targets?.map(({ state }) => state)).toEqual(['ready', 'idle']);
  await first.close();
  // Not idempotent: those that find no listener never ran and go elsewhere.
  expect(await many(10, () => who(of))).toEqual({ second: 10 });
  const stats = of.stats('app');
  expect(stats.errors).toEqual({});
  expect(stats.spread?.retries).toBeGreaterThan(0);
  expect(of.state('app')).toBe('ready');
});

test('weights and zones', async () => {
  const [a, b, c] = await Promise.all([upstream('a'), upstream('b'), upstream('c')]);
  const of = pool();
  const targets = [
    { url: a.url, weight: 3, zone: 'eu' },
    { url: b.url, zone: 'eu' },
    { url: c.url, zone: 'us' },
  ];
  of.addServer(several(targets, { balance: 'round-robin', zone: 'eu' }));
  expect(await many(8, () => who(of))).toEqual({ a: 6, b: 2 });
  await Promise.all([a.close(), b.close()]);
  expect(await many(4, () => who(of))).toEqual({ c: 4 });
});

test('hash keeps a caller on one target, and is nothing to the connections of a shared server', async () => {
  const all = await Promise.all(['a', 'b', 'c'].map((name) => upstream(name)));
  const of = pool();
  of.addServer(
    several(
      all.map(({ url }) => ({ url })),
      { balance: 'hash' },
    ),
  );
  const found = new Map<string, string>();
  for (let i = 0; i < 30; i++) found.set(`k${i}`, await who(of, { caller: { key: `k${i}` } }));
  expect(new Set(found.values()).size).toBe(3);
  for (const [key, name] of found) expect(await who(of, { caller: { key } })).toBe(name);
  expect(of.stats('app').connections).toBe(3);
});

test('the sessions of a bound server stay where they are, and are renewed elsewhere when their target is lost', async () => {
  const [a, b] = await Promise.all([upstream('a'), upstream('b')]);
  const of = pool();
  of.addServer(several([{ url: a.url }, { url: b.url }], { balance: 'round-robin', sharing: 'bound' }));
  const homes: Record<string, string> = {};
  const at = (key: string): Promise<string> => who(of, { caller: { key } });
  for (const key of ['1', '2', '3', '4']) homes[key] = await at(key);
  expect(Object.values(homes).sort()).toEqual(['a', 'a', 'b', 'b']);
  for (let i = 0; i < 3; i++) for (const key of ['1', '2', '3', '4']) expect(await at(key)).toBe(homes[key]);
  await a.close();
  const lost = Object.keys(homes).filter((key) => homes[key] === 'a');
  for (const key of lost) {
    // The server that kept its state is gone: that is told once, and then it begins anew.
    await expect.poll(() => at(key).catch(() => 'lost')).toBe('b');
  }
  for (const key of Object.keys(homes)) expect(await at(key)).toBe('b');
});

test('a session whose first target cannot be reached begins on another', async () => {
  const b = await upstream('b');
  const of = pool();
  of.addServer(several([{ url: await nowhere() }, { url: b.url }], { balance: 'failover', sharing: 'bound' }));
  expect(await who(of, { caller: { key: 'x' } })).toBe('b');
  await of.releaseKey('app', 'x');
  expect(await who(of, { caller: { key: 'x' } })).toBe('b');
});

test('what may have run is sent again only if it may be repeated, and to another target', async () => {
  const plan = { rules: [{ method: 'tools/call', fault: 'status', status: 503 }] } as const;
  const bad = await upstream('bad', { plan: { seed: 1, ...plan } as never });
  const good = await upstream('good');
  const history = new History();
  const of = record(pool(), history);
  of.addServer(
    several([{ url: bad.url }, { url: good.url }], {
      balance: 'failover',
      outliers: { consecutiveFailures: Number.POSITIVE_INFINITY, failureRatio: Number.POSITIVE_INFINITY },
    }),
  );
  await expect(who(of)).rejects.toMatchObject({ code: 'ERR_UPSTREAM_BUSY' });
  expect(good.ran()).toBe(0);
  expect(await who(of, idempotent)).toBe('good');
  expect(of.stats('app').targets?.[0]?.errors).toEqual({ ERR_UPSTREAM_BUSY: 2 });
  expect(of.stats('app').errors).toEqual({ ERR_UPSTREAM_BUSY: 1 });
  await of.close();
  check(history).assert();
});

test('retries keep within their budget', async () => {
  const plan = { seed: 1, rules: [{ method: 'tools/call', fault: 'status', status: 503 }] } as never;
  const all = await Promise.all(['a', 'b', 'c'].map((name) => upstream(name, { plan })));
  const of = pool();
  of.addServer(
    several(
      all.map(({ url }) => ({ url })),
      { retryRatio: 0, balance: 'round-robin' },
    ),
  );
  for (let i = 0; i < 5; i++) await expect(who(of, idempotent)).rejects.toMatchObject({ code: 'ERR_UPSTREAM_BUSY' });
  expect(of.stats('app').spread).toMatchObject({ retries: 0, refusedRetries: 5 });
});

test('a slow call that may be repeated is hedged, the loser is cancelled, and one that may not is not', async () => {
  const slow = await upstream('slow', { tools: { who: { text: 'slow', serviceMs: 30_000 } } });
  const quick = await upstream('quick');
  const of = pool();
  of.addServer(several([{ url: slow.url }, { url: quick.url }], { balance: 'failover', hedge: { after: 20 } }));
  expect(await who(of, idempotent)).toBe('quick');
  expect(of.stats('app').spread).toMatchObject({ hedges: 1, hedgesWon: 1 });
  await expect.poll(() => of.stats('app').inFlight).toBe(0);
  const control = new AbortController();
  const single = who(of, { signal: control.signal });
  await expect.poll(() => slow.ran('who')).toBe(2);
  expect(of.stats('app').spread).toMatchObject({ hedges: 1 });
  control.abort(new Error('enough'));
  await expect(single).rejects.toThrow('enough');
});

test('a list goes on where it began', async () => {
  const tools = Object.fromEntries(Array.from({ length: 6 }, (_, i) => [`t${i}`, {}]));
  const all = await Promise.all(['a', 'b', 'c'].map((name) => upstream(name, { tools, pageSize: 2 })));
  const of = pool();
  of.addServer(
    several(
      all.map(({ url }) => ({ url })),
      { balance: 'round-robin' },
    ),
  );
  for (let i = 0; i < 3; i++) {
    const { items, pages } = await of.listAll('app', 'tools');
    expect(pages).toBe(3);
    expect(items.length).toBe(6);
  }
  // Each list was one choice: the pages after the first were bound to it.
  expect(of.stats('app').targets?.map(({ picked }) => picked)).toEqual([3, 3, 3]);
});

test('apply adds and removes targets while the others go on, and drains what goes', async () => {
  const [a, b, c] = await Promise.all([upstream('a'), upstream('b'), upstream('c')]);
  const of = pool();
  const starts: (string | undefined)[] = [];
  of.on('started', (event) => void starts.push((event as { target?: string }).target));
  await of.apply([several([{ url: a.url }, { url: b.url }], { balance: 'round-robin' })]);
  expect(await many(4, () => who(of))).toEqual({ a: 2, b: 2 });
  expect(starts.length).toBe(2);
  const call = of.request('app', 'tools/call', { name: 'slow' });
  await expect.poll(() => a.ran('slow') + b.ran('slow')).toBe(1);
  const [busy, kept] = a.ran('slow') === 1 ? [a, b] : [b, a];
  const control = new AbortController();
  const ended = call.catch((error: unknown) => error);
  const report = of.apply([
    several(
      [
        { url: kept.url, weight: 1 },
        { url: c.url, weight: 1 },
      ],
      { balance: 'round-robin', drainMs: 300 },
    ),
  ]);
  const now = await many(4, () => who(of));
  expect(Object.keys(now).sort()).toEqual([kept.name, 'c'].sort());
  expect(
    of
      .stats('app')
      .targets?.map(({ role }) => role)
      .sort(),
  ).toEqual(['draining', 'target', 'target']);
  expect(await report).toEqual({ added: [], removed: [], restarted: [], unchanged: [], updated: ['app'] });
  expect(await ended).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' });
  expect(busy.ran('slow')).toBe(1);
  expect(of.stats('app').targets?.length).toBe(2);
  // The one that both configs have was not started anew.
  expect(starts.length).toBe(3);
  control.abort();
});

test('what every target refuses is refused, with what the last one said', async () => {
  const of = pool();
  of.addServer(
    several([
      { url: await nowhere(), transport: 'http' },
      { url: await nowhere(), transport: 'http' },
    ]),
  );
  await expect(of.startServer('app')).rejects.toMatchObject({
    code: 'ERR_START_FAILED',
    message: expect.stringContaining('none of its 2 targets'),
  });
  await expect(who(of)).rejects.toMatchObject({ acted: 'no' });
  expect(of.state('app')).toBe('failed');
  await of.stopServer('app');
  await expect(who(of)).rejects.toMatchObject({ code: 'ERR_SERVER_STOPPED' });
});

test('a subscription goes on at another target when its own is removed, and ends with its server', async () => {
  const options = { resources: { 'test://a': 'A' }, tools: {} };
  const [a, b] = await Promise.all([upstream('a', options), upstream('b', options)]);
  const of = pool();
  const app = (url: string) => several([{ url }], { era: 'modern', drainMs: 0 });
  await of.apply([app(a.url)]);
  const heard: string[] = [];
  const subscription = await of.subscribe(
    'app',
    { toolsListChanged: true },
    { onNotification: ({ method }) => void heard.push(method) },
  );
  a.server.addTool('one');
  await expect.poll(() => heard.length).toBe(1);
  await of.apply([app(b.url)]);
  await expect
    .poll(() => {
      b.server.addTool('two');
      return heard.length;
    })
    .toBeGreaterThan(1);
  await of.stopServer('app');
  await subscription.ended;
});

test('drained sessions keep their target until they end, and new ones go elsewhere', async () => {
  const [a, b] = await Promise.all([upstream('a'), upstream('b')]);
  const of = pool();
  const settings = { balance: 'failover', sharing: 'bound', drainMs: 60_000 } as const;
  await of.apply([several([{ url: a.url }], settings)]);
  const at = (key: string): Promise<string> => who(of, { caller: { key } });
  expect(await at('old')).toBe('a');
  const drained = of.apply([several([{ url: b.url }], settings)]);
  await expect.poll(() => of.stats('app').targets?.map(({ role }) => role)).toEqual(['target', 'draining']);
  expect(await at('old')).toBe('a');
  expect(await at('new')).toBe('b');
  await of.releaseKey('app', 'old');
  await drained;
  expect(of.stats('app').targets?.map(({ role }) => role)).toEqual(['target']);
  expect(await at('old')).toBe('b');
});

test('a change of what all targets share replaces the server, and its calls wait for it', async () => {
  const [a, b] = await Promise.all([upstream('a'), upstream('b')]);
  const of = pool();
  await of.apply([several([{ url: a.url }])]);
  expect(await who(of)).toBe('a');
  const applied = of.apply([several([{ url: b.url }], { maxQueue: 7 })]);
  await new Promise(setImmediate);
  expect(await who(of)).toBe('b');
  expect(await applied).toMatchObject({ restarted: ['app'] });
  // From one server to several and back.
  expect(await of.apply([{ name: 'app', url: a.url }])).toMatchObject({ restarted: ['app'] });
  expect(await who(of)).toBe('a');
  expect(await of.apply([several([{ url: b.url }])])).toMatchObject({ restarted: ['app'] });
  expect(await who(of)).toBe('b');
});

test('a lease stays on one target, and its load counts until it is back', async () => {
  const all = await Promise.all(['a', 'b'].map((name) => upstream(name)));
  const of = pool();
  of.addServer(
    several(
      all.map(({ url }) => ({ url })),
      { balance: 'least-loaded', sharing: 'leased' },
    ),
  );
  const leases = await Promise.all([of.lease('app'), of.lease('app')]);
  const names = await Promise.all(
    leases.map(async (lease) => {
      const said = async () => (await lease.request('tools/call', { name: 'who' })) as { content: { text: string }[] };
      const [first, second] = [await said(), await said()];
      expect(first).toEqual(second);
      return first.content[0]?.text;
    }),
  );
  expect(names.sort()).toEqual(['a', 'b']);
  for (const lease of leases) lease.release();
});

test('a pool of one transport refuses targets of another', () => {
  const of = pool();
  expect(() => of.addServer(several([]))).toThrow('targets');
  const stdio = closeAfter(new StdioPool());
  expect(() => stdio.addServer(several([{ command: 'x' }, { url: 'http://x/' }]))).toThrow("expected 'stdio'");
});

test('that an attempt may have run is not hidden by one that never did', async () => {
  const plan = { seed: 1, rules: [{ method: 'tools/call', fault: 'resetAfterHeaders' }] } as const;
  const hangs = { tools: { who: { serviceMs: 150 } }, plan };
  const [cut, slow] = await Promise.all([upstream('cut', { plan }), upstream('slow', hangs)]);
  const told = { code: 'ERR_OUTCOME_UNKNOWN', acted: 'perhaps' };
  const retried = pool();
  retried.addServer(several([{ url: cut.url }, { url: await nowhere() }], { balance: 'failover' }));
  await expect(who(retried, idempotent)).rejects.toMatchObject(told);
  expect(retried.stats('app').spread?.retries).toBe(1);
  // The hedge fails first, and never ran.
  const hedged = pool();
  const down = [{ url: slow.url }, { url: await nowhere() }];
  hedged.addServer(several(down, { balance: 'failover', hedge: { after: 5 } }));
  await expect(who(hedged, idempotent)).rejects.toMatchObject(told);
  expect(hedged.stats('app').spread?.hedges).toBe(1);
  const canary = pool();
  canary.addServer(several([{ url: await nowhere() }], { canary: { to: { url: cut.url }, ratio: 1 } }));
  await expect(who(canary, idempotent)).rejects.toMatchObject(told);
});

test('what is meant for a server as a whole goes to each of its targets', async () => {
  const all = await Promise.all([RawServer.listen({}), RawServer.listen({})]);
  const of = pool();
  of.addServer(
    several(
      all.map(({ url }) => ({ url, transport: 'http' })),
      { balance: 'round-robin', era: 'legacy' },
    ),
  );
  for (let i = 0; i < 2; i++) await of.request('app', 'tools/list');
  await of.notify('app', 'notifications/roots/list_changed');
  await of.request('app', 'logging/setLevel', { level: 'debug' }).catch(() => undefined);
  for (const raw of all) {
    await expect.poll(() => raw.of('notifications/roots/list_changed').length).toBe(1);
    await expect.poll(() => raw.of('logging/setLevel').length).toBe(1);
  }
});

test('a session that was answered with an error, or timed out, is one that its target may have state of', async () => {
  const plan = { seed: 1, rules: [{ method: 'tools/call', fault: 'error', code: -32_000 }] } as const;
  const [first, second] = await Promise.all([upstream('first', { plan }), upstream('second')]);
  const of = pool({ breakerThreshold: 1 });
  of.addServer(
    several([{ url: first.url }, { url: second.url }], {
      balance: 'failover',
      sharing: 'bound',
      outliers: { maxEjectedRatio: 0 },
    }),
  );
  const at = () => who(of, { caller: { key: 'k' } });
  await expect(at()).rejects.toMatchObject({ code: 'ERR_RPC' });
  await first.close();
  const lost: string[] = [];
  of.on('sessionLost', ({ key, reason }) => void lost.push(`${key}: ${reason}`));
  // Not sent elsewhere in silence: it fails, it is told, and the next call begins anew.
  await expect(at()).rejects.toMatchObject({ acted: 'no' });
  await expect.poll(() => at().catch(() => 'lost')).toBe('second');
  expect(lost).toEqual([expect.stringMatching(/^k: target .* cannot be reached$/)]);
});
