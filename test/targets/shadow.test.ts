import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { expect, test } from 'vitest';
import { RateLimiter } from '../../src/concurrent/limiter/RateLimiter.js';
import type { CallTrace } from '../../src/pool/server/calls/trace.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { failure } from '../support/rawCalls.js';
import { type Exchange, RawServer, said } from '../support/rawServer.js';
import { idempotent, many, pool, several, upstream, who } from '../support/upstreams.js';

const SLOW = { who: { text: 'slow', serviceMs: 60_000 } };
const FAILS = { seed: 1, rules: [{ method: 'tools/call', fault: 'status', status: 503 }] } as const;
const ERROR = { seed: 1, rules: [{ method: 'tools/call', fault: 'error', code: -32_000 }] } as const;

test('a mirror gets a copy of what may be repeated, its answers are compared, and no caller feels it', async () => {
  const [main, mirror] = await Promise.all([upstream('main'), upstream('mirror')]);
  const of = pool();
  of.addServer(several([{ url: main.url }], { mirror: { to: { url: mirror.url }, ratio: 1 } }));
  expect(await many(3, () => who(of, idempotent))).toEqual({ main: 3 });
  expect(await who(of)).toBe('main');
  await of.request('app', 'ping');
  await expect
    .poll(() => of.stats('app').spread?.mirror)
    .toMatchObject({ sent: 4, different: 3, same: 1, failed: 0, skipped: 0 });
  expect(mirror.ran('who')).toBe(3);
  expect(of.stats('app').targets?.map(({ role }) => role)).toEqual(['target', 'mirror']);
});

test.each<[string, object]>([
  ['fails', { plan: FAILS }],
  ['hangs', { tools: SLOW }],
])('a mirror that %s costs a caller nothing, and a close does not wait for it', async (how, options) => {
  const [main, mirror] = await Promise.all([upstream('main'), upstream('mirror', options)]);
  const of = pool();
  of.addServer(several([{ url: main.url }], { mirror: { to: { url: mirror.url }, ratio: 1, compare: false } }));
  expect(await many(3, () => who(of, idempotent))).toEqual({ main: 3 });
  await expect.poll(() => (how === 'fails' ? of.stats('app').spread?.mirror?.failed : mirror.ran('who'))).toBe(3);
  expect(of.stats('app').errors).toEqual({});
  await of.close({ graceMs: 0 });
});

test('a copy that a mirror never answers is given up, and the next ones are sent', async () => {
  const [main, mirror] = await Promise.all([upstream('main'), upstream('mirror', { tools: SLOW })]);
  const clock = new FakeClock();
  const of = pool({ clock });
  of.addServer(several([{ url: main.url }], { mirror: { to: { url: mirror.url }, ratio: 1 } }));
  const call = () => who(of, { ...idempotent, timeoutMs: Number.POSITIVE_INFINITY });
  expect(await many(64, call)).toEqual({ main: 64 });
  await expect.poll(() => mirror.ran('who')).toBe(64);
  await call();
  expect(of.stats('app').spread?.mirror).toMatchObject({ sent: 64, skipped: 1, failed: 0 });
  await clock.advance(60_000);
  await expect.poll(() => of.stats('app').spread?.mirror).toMatchObject({ failed: 64 });
  await call();
  expect(of.stats('app').spread?.mirror).toMatchObject({ sent: 65 });
});

test('a canary answers its share, and nothing that may not be repeated', async () => {
  const [main, canary] = await Promise.all([upstream('main'), upstream('canary')]);
  const of = pool();
  of.addServer(several([{ url: main.url }], { canary: { to: { url: canary.url }, ratio: 1 } }));
  expect(await many(3, () => who(of, idempotent))).toEqual({ canary: 3 });
  expect(await who(of)).toBe('main');
  expect(of.stats('app').spread?.canary).toEqual({ asked: 3, answered: 3, replaced: 0 });
});

test.each<[string, object]>([
  ['fails', { plan: FAILS }],
  ['answers with an error of the protocol', { plan: ERROR }],
  ['answers with an error of the tool', { tools: { who: { text: 'no', isError: true } } }],
  ['hangs', { tools: SLOW }],
])('when a canary %s, the targets answer', async (_, options) => {
  const [main, canary] = await Promise.all([upstream('main'), upstream('canary', options)]);
  const of = pool();
  of.addServer(several([{ url: main.url }], { canary: { to: { url: canary.url }, ratio: 1 } }));
  expect(await who(of, idempotent)).toBe('main');
  expect(of.stats('app')).toMatchObject({ errors: {}, spread: { canary: { asked: 1, answered: 0, replaced: 1 } } });
  // A canary that hangs is told that its call is over.
  await expect.poll(() => of.stats('app').inFlight).toBe(0);
});

test.each([null, 'text', 5])('an answer %j of a canary is none', async (result) => {
  const main = await upstream('main');
  const before = ({ message, json }: Exchange): boolean => {
    if (message?.method === 'tools/call') json({ jsonrpc: '2.0', id: message.id, result });
    return message?.method === 'tools/call';
  };
  const canary = closeAfter(await RawServer.listen({ before }));
  const of = pool();
  of.addServer(several([{ url: main.url }], { canary: { to: { url: canary.url }, ratio: 1 } }));
  expect(await who(of, idempotent)).toBe('main');
});

test('the targets’ error ends a call whose canary hangs', async () => {
  const [main, canary] = await Promise.all([upstream('main', { plan: ERROR }), upstream('canary', { tools: SLOW })]);
  const clock = new FakeClock();
  const of = pool({ clock });
  of.addServer(several([{ url: main.url }], { canary: { to: { url: canary.url }, ratio: 1 } }));
  await of.startServer('app');
  const failed = failure(who(of, idempotent));
  await expect.poll(() => canary.ran('who')).toBe(1);
  // No more: the call's own time is a minute.
  await clock.advance(1_000);
  expect(await failed).toMatchObject({ code: 'ERR_RPC', rpcCode: -32_000 });
  expect(of.stats('app').spread?.canary).toEqual({ asked: 1, answered: 0, replaced: 1 });
  await expect.poll(() => of.stats('app').inFlight).toBe(0);
});

test('a share is a share', async () => {
  const [main, canary] = await Promise.all([upstream('main'), upstream('canary')]);
  const of = pool();
  of.addServer(several([{ url: main.url }], { canary: { to: { url: canary.url }, ratio: 0.3 } }));
  const { main: ours = 0, canary: theirs = 0 } = await many(200, () => who(of, idempotent));
  expect(ours + theirs).toBe(200);
  // Six standard deviations around 60.
  expect(theirs).toBeGreaterThan(21);
  expect(theirs).toBeLessThan(99);
});

test('answers are compared by what their text says, whatever the order of members and the white space', async () => {
  const texts = ['', ''];
  const says = (at: number): Promise<RawServer> =>
    RawServer.listen({
      before: ({ message, res }) => {
        if (message?.method !== 'tools/call') return false;
        const result = `{"content":[],"structuredContent":${texts[at]},"_meta":{"at":${at}}}`;
        res.writeHead(200, { 'content-type': 'application/json' });
        res.end(`{"jsonrpc":"2.0","id":${message.id},"result":${result}}`);
        return true;
      },
    });
  const [main, mirror] = (await Promise.all([says(0), says(1)])).map((each) => closeAfter(each).url);
  const of = pool();
  of.addServer(several([{ url: main ?? '' }], { mirror: { to: { url: mirror ?? '' }, ratio: 1 } }));
  const many = `[${'0,'.repeat(200_000)}0]`;
  let same = 0;
  let different = 0;
  for (const [ours, theirs, alike] of [
    ['{"a":1,"b":"x"}', ' {"b" : "x", "a":1.0}', true],
    ['{"a":1.0000000000000000001}', '{"a":1}', false],
    ['{"a":9007199254740993}', '{"a":9007199254740992}', false],
    ['{"a":1,"a":2}', '{"a":2}', false],
    [many, many, true],
  ] as const) {
    texts.splice(0, 2, ours, theirs);
    await of.request('app', 'tools/call', { name: 'who' }, { ...idempotent, raw: true });
    if (alike) same++;
    else different++;
    await expect.poll(() => of.stats('app').spread?.mirror).toMatchObject({ same, different, failed: 0 });
  }
});

test('a canary says nothing that lasts: lists, and answers that it alone could go on with, are the targets’', async () => {
  const tools = Object.fromEntries(['a', 'b', 'c'].map((name) => [name, {}]));
  const binding = ({ message, json }: Exchange): void =>
    json({ jsonrpc: '2.0', id: message.id, result: { ...said('canary'), requestState: 'of the canary' } });
  const main = await upstream('main', { pageSize: 2 });
  const [lists, states] = await Promise.all([
    upstream('canary', { pageSize: 2, tools }),
    RawServer.listen({ tools: { who: binding } }),
  ]);
  const of = pool();
  of.addServer(several([{ url: main.url }], { canary: { to: { url: lists.url }, ratio: 1 } }));
  const first = (await of.request('app', 'tools/list', {})) as { tools: { name: string }[] };
  expect(first.tools.map(({ name }) => name)).not.toContain('a');
  await of.request('app', 'server/discover').catch(() => undefined);
  expect(of.stats('app').spread?.canary).toMatchObject({ asked: 0 });
  // A gateway pings to have a target come up, and asks for its handshake then.
  const fresh = pool();
  fresh.addServer(several([{ url: main.url }], { canary: { to: { url: lists.url }, ratio: 1 } }));
  await fresh.request('app', 'ping');
  expect(fresh.info('app', {})).toBeDefined();
  const other = pool();
  other.addServer(several([{ url: main.url }], { canary: { to: { url: states.url }, ratio: 1 } }));
  expect(await who(other, idempotent)).toBe('main');
  expect(other.stats('app').spread?.canary).toMatchObject({ asked: 1, replaced: 1 });
});

const REFUSES = { seed: 1, rules: [{ method: 'tools/call', fault: 'status', status: 429, retryAfter: 50 }] } as const;

test.each(['mirror', 'canary'] as const)('a 429 of a %s pauses no one else, and it is left alone', async (role) => {
  const [main, other] = await Promise.all([upstream('main'), upstream('other', { plan: REFUSES })]);
  const clock = new FakeClock();
  const limiter = closeAfter(new RateLimiter({ maxRequests: 100, windowMs: 1_000, clock }));
  const of = pool({ limiter, clock });
  of.addServer(several([{ url: main.url }], { [role]: { to: { url: other.url }, ratio: 1 } }));
  const refused = (): number => other.server.events.filter(({ type }) => type === 'fault').length;
  const call = (): Promise<string> => who(of, { ...idempotent, deadlineMs: 500 });
  expect(await call()).toBe('main');
  await expect.poll(refused).toBe(1);
  if (role === 'mirror') await expect.poll(() => of.stats('app').spread?.mirror?.failed).toBe(1);
  expect(await many(3, call)).toEqual({ main: 3 });
  expect(refused()).toBe(1);
  const { mirror, canary } = of.stats('app').spread ?? {};
  expect(mirror ?? canary).toMatchObject(role === 'mirror' ? { sent: 1, skipped: 3 } : { asked: 1, replaced: 1 });
  // As any target that refuses.
  await clock.advance(10_000);
  expect(await call()).toBe('main');
  await expect.poll(refused).toBe(2);
});

test('a copy takes no permit', async () => {
  const [main, mirror] = await Promise.all([upstream('main'), upstream('mirror')]);
  const clock = new FakeClock();
  const limiter = closeAfter(new RateLimiter({ maxRequests: 3, windowMs: 1_000, clock }));
  const of = pool({ limiter, clock });
  of.addServer(several([{ url: main.url }], { mirror: { to: { url: mirror.url }, ratio: 1 } }));
  for (let sent = 1; sent <= 3; sent++) {
    expect(await who(of, idempotent)).toBe('main');
    await expect.poll(() => mirror.ran('who')).toBe(sent);
  }
  expect(limiter.tryAcquire()).toBe(false);
});

test('a canary takes a permit that is free, and else the targets are asked', async () => {
  const [main, canary] = await Promise.all([upstream('main'), upstream('canary')]);
  const clock = new FakeClock();
  const limiter = closeAfter(new RateLimiter({ maxRequests: 1, windowMs: 1_000, clock }));
  const of = pool({ limiter, clock });
  of.addServer(several([{ url: main.url }], { canary: { to: { url: canary.url }, ratio: 1 } }));
  expect(await who(of, idempotent)).toBe('canary');
  const waits = who(of, idempotent);
  await expect.poll(() => limiter.inspect().waiting).toBe(1);
  await clock.advance(1_000);
  expect(await waits).toBe('main');
});

test.each(['mirror', 'canary'] as const)('what a %s tells and asks by itself is not heard', async (role) => {
  const streams: Exchange[] = [];
  const get = (exchange: Exchange): void => {
    exchange.sse();
    streams.push(exchange);
  };
  const [main, other] = await Promise.all([RawServer.listen({}), RawServer.listen({ get })]);
  const of = pool();
  const heard: string[] = [];
  of.on('notification', ({ notice }) => heard.push(notice.method));
  of.on('orphanRequest', ({ request, respond }) => respond(Promise.resolve(void heard.push(request.method))));
  of.addServer(
    several([{ url: main.url, transport: 'http' }], {
      [role]: { to: { url: other.url, transport: 'http' }, ratio: 1 },
      era: 'legacy',
    }),
  );
  await of.request('app', 'tools/call', { name: 'echo', arguments: { text: 'x' } }, idempotent);
  await expect.poll(() => streams.length).toBe(1);
  streams[0]?.event({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
  streams[0]?.event({ jsonrpc: '2.0', id: 'q', method: 'roots/list' });
  await expect.poll(() => other.seen.some(({ message }) => message?.error?.code === -32_601)).toBe(true);
  expect(heard).toEqual([]);
});

test.each(['mirror', 'canary'] as const)('a server is not described by its %s', async (role) => {
  const [main, other] = await Promise.all([upstream('main'), upstream('other')]);
  const of = pool();
  of.addServer(several([{ url: main.url }], { [role]: { to: { url: other.url }, ratio: 1 } }));
  await main.close();
  await who(of, idempotent).catch(() => undefined);
  await expect.poll(() => other.ran('who')).toBe(1);
  expect(of.info('app')).toBeUndefined();
});

test('nothing is traced of a copy', async () => {
  const [main, mirror] = await Promise.all([upstream('main'), upstream('mirror')]);
  const of = pool();
  of.addServer(several([{ url: main.url }], { mirror: { to: { url: mirror.url }, ratio: 1 } }));
  const phases: string[] = [];
  const onCall = (told: unknown): void => {
    const { phase, call } = told as CallTrace;
    if (call.pool === of) phases.push(phase);
  };
  subscribe('mcp-poolkit:call', onCall);
  closeAfter({ close: async () => void unsubscribe('mcp-poolkit:call', onCall) });
  await who(of, idempotent);
  await expect.poll(() => mirror.ran('who')).toBe(1);
  await expect.poll(() => of.stats('app').spread?.mirror).toMatchObject({ different: 1 });
  expect(phases).toEqual(['queue', 'send', 'answer']);
});
