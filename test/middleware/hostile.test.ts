import { expect, test, vi } from 'vitest';
import { Bulkhead } from '../../src/concurrent/balance/Bulkhead.js';
import { MultiServerRateLimiter } from '../../src/concurrent/limiter/MultiServerRateLimiter.js';
import type { Caller } from '../../src/connection/calls/Caller.js';
import { CallResult } from '../../src/connection/calls/CallResult.js';
import type { Middleware, MiddlewareCall } from '../../src/connection/calls/Middleware.js';
import { MiddlewareChain } from '../../src/connection/calls/MiddlewareChain.js';
import type { Logger } from '../../src/core/logger.js';
import { AUDIT_DEFAULTS, audit } from '../../src/middleware/ready/audit.js';
import { cache } from '../../src/middleware/ready/cache.js';
import { coalesce } from '../../src/middleware/ready/coalesce.js';
import { limit } from '../../src/middleware/ready/limit.js';
import { Pins } from '../../src/middleware/ready/Pins.js';
import { redact } from '../../src/middleware/ready/redact.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { countTurns } from '../support/countTurns.js';

/** What servers and clients do that mean harm to those who are behind the ready middleware. */

type Params = Readonly<Record<string, unknown>>;

/** Messages through one middleware to a function. */
function through(middleware: Middleware, answer: (params: Params) => unknown) {
  const chain = new MiddlewareChain();
  chain.use(middleware);
  let asked = 0;
  const end = async (passed: MiddlewareCall): Promise<CallResult> => {
    asked++;
    return CallResult.of(await answer(passed.params ?? {}), passed.server);
  };
  const send = (kind: 'request' | 'notification', method: string, params: Params, server = 's', caller?: Caller) => {
    const from = kind === 'request' ? ('client' as const) : ('server' as const);
    const origin = { kind, from, server, method, caller, idempotent: false, era: () => undefined };
    return chain.run(origin, params, {}, end);
  };
  return {
    call: (method: string, params: Params = {}, server?: string) => send('request', method, params, server),
    tell: (method: string, params: Params = {}, server?: string) => send('notification', method, params, server),
    callAs: (caller: Caller, method: string, params: Params) => send('request', method, params, 's', caller),
    asked: () => asked,
  };
}

const bytes = (value: unknown): Uint8Array => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));

test('redact: a member is looked into whatever its name, but for the _meta of the protocol', async () => {
  const sent: unknown[] = [];
  const hidden = through(redact({ patterns: ['s3cret'] }), (params) => {
    sent.push(params);
    return bytes({});
  });
  for (const name of ['method', '_meta', 'jsonrpc', 'id', 'params']) {
    await hidden.call('tools/call', {
      name: 't',
      arguments: { [name]: 's3cret', deep: [{ [name]: { x: 's3cret' } }] },
    });
  }
  await hidden.call('x', { method: 's3cret' });
  expect(JSON.stringify(sent)).not.toContain('s3cret');
  await hidden.call('tools/call', { name: 't', _meta: { progressToken: 's3cret' }, arguments: { a: 's3cret' } });
  const meta = { name: 't', arguments: { a: '[redacted]' }, _meta: { progressToken: 's3cret' } };
  expect(sent.at(-1)).toEqual(meta);
  const answered = through(redact({ patterns: ['s3cret'] }), () => ({ method: 's3cret', _meta: { x: ['s3cret'] } }));
  expect((await answered.call('x')).text).not.toContain('s3cret');
});

test('audit: of texts that a client makes up an entry has 1,024 characters, of params all', async () => {
  const entries: Record<string, unknown>[] = [];
  const logger = { info: (entry: Record<string, unknown>) => void entries.push(entry) } as unknown as Logger;
  const { callAs } = through(audit({ logger, fields: [...AUDIT_DEFAULTS.fields, 'params'] }), () => bytes({}));
  const long = 'm'.repeat(100_000);
  await callAs({ principal: long }, `x/${long}`, {});
  await callAs({}, 'tools/call', { name: long });
  await callAs({}, 'prompts/get', { name: long });
  await callAs({}, 'resources/read', { uri: long });
  const texts = entries.flatMap((entry) => Object.values(entry).filter((each) => typeof each === 'string'));
  expect(Math.max(...texts.map(({ length }) => length))).toBe(1_024);
  expect(entries.map(({ params }) => params)).toContainEqual({ name: long });
});

test('cache: what a server says has changed costs what is kept of it, and concerns nothing else', async () => {
  const kept = through(cache({ ttlMs: () => 60_000 }), ({ uri }) => bytes({ contents: [uri] }));
  const updated = (uri: string, server?: string) => kept.tell('notifications/resources/updated', { uri }, server);
  const read = async (uri: string, server?: string): Promise<boolean> => {
    const before = kept.asked();
    await kept.call('resources/read', { uri }, server);
    return kept.asked() > before;
  };
  const count = 15_000;
  for (let at = 0; at < count; at++) await kept.call('resources/read', { uri: `x:${at}` });
  // With a look at all that is kept for each this takes longer than a test may.
  for (let at = 0; at < count; at++) await updated(`never:${at}`);
  await read('x:1', 'other');
  await kept.call('tools/list');
  await updated('x:1');
  expect([await read('x:1'), await read('x:2'), await read('x:1', 'other')]).toEqual([true, false, false]);
  await kept.tell('notifications/tools/list_changed');
  expect(await read('x:1')).toBe(false);
  const before = kept.asked();
  await kept.call('tools/list');
  expect(kept.asked()).toBe(before + 1);
  await kept.tell('notifications/resources/list_changed');
  expect([await read('x:1'), await read('x:3'), await read('x:1', 'other')]).toEqual([true, true, false]);
}, 10_000);

const tools = (from: number, count: number, more: object = {}): unknown[] =>
  Array.from({ length: count }, (_, at) => ({ name: `t${from + at}`, inputSchema: {}, ...more }));
const namesOf = (result: CallResult): string[] =>
  (result.value as { tools: { name: string }[] }).tools.map(({ name }) => name);

test('Pins: what one server may have pinned is bounded; what is new beyond is neither shown nor called', async () => {
  let offered = tools(0, 60);
  const told: object[] = [];
  const logger = { warn: (fields: object) => void told.push(fields) } as unknown as Logger;
  const pins = new Pins({ maxTools: 100, logger });
  const server = through(pins.middleware, ({ name }) => bytes(name === undefined ? { tools: offered } : {}));
  const list = async (name?: string): Promise<number> => namesOf(await server.call('tools/list', {}, name)).length;
  expect(await list()).toBe(60);
  for (const from of [60, 120, 180]) {
    offered = tools(from, 60);
    expect(await list()).toBe(from === 60 ? 40 : 0);
  }
  const call = (name: string) => server.call('tools/call', { name });
  for (const name of ['t100', 't239', '__proto__'])
    await expect(call(name)).rejects.toMatchObject({ code: 'ERR_FORBIDDEN' });
  for (const name of ['t0', 't99']) await call(name);
  // Those that are pinned stay so, and those of other servers are none of it.
  offered = [...tools(0, 100), { name: 'x'.repeat(2_000), inputSchema: {} }];
  expect(await list()).toBe(100);
  expect(await list('other')).toBe(100);
  expect(told).toEqual([expect.objectContaining({ server: 's' }), expect.objectContaining({ server: 'other' })]);
});

test('Pins: lists that wait for a slow store are bounded, and one caller leaves room for others', async () => {
  let fail = (_error: Error): void => undefined;
  let answer = new Promise<undefined>((_, reject) => {
    fail = reject;
  });
  const store = { get: vi.fn(() => answer), set: async () => undefined };
  const offered = bytes({ tools: tools(0, 62, { description: 'x'.repeat(100 * 1_024) }) });
  const server = through(new Pins({ store }).middleware, () => offered);
  const list = (principal: string) => server.callAs({ principal }, 'tools/list', {});
  const parsed = vi.spyOn(JSON, 'parse');
  const many = Array.from({ length: 7 }, () => list('eve'));
  await vi.waitFor(() => expect(server.asked()).toBe(7));
  await expect(list('eve')).rejects.toMatchObject({ code: 'ERR_QUEUE_FULL' });
  const other = list('ann');
  await vi.waitFor(() => expect([server.asked(), store.get.mock.calls.length]).toEqual([9, 1]));
  // The tools of one list.
  expect(parsed.mock.calls.length).toBeLessThan(100);
  parsed.mockRestore();
  fail(new Error('the store is down'));
  for (const each of [...many, other]) await expect(each).rejects.toThrow('the store is down');
  answer = Promise.resolve(undefined);
  expect(namesOf(await list('eve'))).toHaveLength(62);
});

test('Pins: a long list is looked at in turns of the event loop', async () => {
  const offered = bytes({ tools: tools(0, 9_000, { description: 'x'.repeat(500) }) });
  const server = through(new Pins().middleware, () => offered);
  using turns = countTurns();
  expect(namesOf(await server.call('tools/list'))).toHaveLength(9_000);
  expect(turns.count).toBeGreaterThan(3);
});

test('Pins: numbers count as they are written, beyond what a double holds', async () => {
  let offered = '';
  const pins = new Pins();
  const server = through(pins.middleware, () => bytes(`{"tools":[{"name":"t","minimum":${offered}},{"name":"u"}]}`));
  const shown = async (number: string): Promise<boolean> => {
    offered = number;
    const names = namesOf(await server.call('tools/list'));
    expect(names).toContain('u');
    return names.includes('t');
  };
  expect(await shown('1')).toBe(true);
  // One number in other words is the same.
  for (const same of ['1.0', '10e-1']) expect(await shown(same)).toBe(true);
  for (const other of ['1.0000000000000000001', '0.99999999999999999999', '"1"'])
    expect(await shown(other)).toBe(false);
  await pins.accept('s', 't');
  offered = '1.0000000000000000001';
  expect(await shown('1')).toBe(false);
  expect(await shown('1.0000000000000000001')).toBe(false);
  await pins.accept('s', 't');
  expect(await shown('1.0000000000000000001')).toBe(true);
  for (const other of ['1', '1.0000000000000000002', '"1.0000000000000000001"']) expect(await shown(other)).toBe(false);
});

test('limit by tool: names that one caller makes up refuse none of another', async () => {
  const rate = closeAfter(new MultiServerRateLimiter({ maxRequests: 1, windowMs: 60_000, maxServers: 20 }));
  const bulkhead = closeAfter(new Bulkhead({ maxConcurrent: 1, maxKeys: 20 }));
  const by = ({ tool }: MiddlewareCall): string | undefined => tool;
  for (const limited of [limit({ rate, by }), limit({ bulkhead, by })]) {
    let answer = (_result: object): void => undefined;
    const hanging = new Promise<object>((resolve) => {
      answer = resolve;
    });
    const server = through(limited, () => hanging);
    const call = (caller: Caller, name: string): unknown => server.callAs(caller, 'tools/call', { name });
    const eve: Caller = { origin: '192.0.2.1', key: 'a session' };
    for (let at = 0; at < 15; at++) call(eve, `made-up${at}`);
    await expect(call({ ...eve, key: 'another' }, 'one more')).rejects.toMatchObject({ code: 'ERR_QUEUE_FULL' });
    const before = server.asked();
    const asked = [call({ origin: '192.0.2.2' }, 'search'), call({ principal: 'ann' }, 'read')];
    await vi.waitFor(() => expect(server.asked()).toBe(before + 2));
    answer({});
    await Promise.all(asked);
  }
});

test('limit by a key that several callers share: one has neither all places in its queue nor all turns', async () => {
  const clock = new FakeClock();
  const rate = closeAfter(new MultiServerRateLimiter({ maxRequests: 1, windowMs: 1_000, maxQueue: 20, clock }));
  const bulkhead = closeAfter(new Bulkhead({ maxConcurrent: 1, maxQueue: 20, clock }));
  const eve: Caller = { origin: '192.0.2.1', key: 'a session' };
  const bob: Caller = { origin: '192.0.2.2', key: 'b' };
  for (const limited of [limit({ rate }), limit({ bulkhead }), limit({ rate, by: ({ tool }) => tool })]) {
    const served: unknown[] = [];
    const server = through(limited, async ({ arguments: who }) => {
      served.push(who);
      await new Promise<void>((resolve) => void clock.setTimer(resolve, 1_000));
      return bytes({});
    });
    const call = (caller: Caller, who: string): Promise<string> =>
      Promise.resolve(server.callAs(caller, 'tools/call', { name: 't', arguments: who })).then(
        () => 'answered',
        (error: { code: string }) => error.code,
      );
    const asked = Array.from({ length: 20 }, () => call(eve, 'eve'));
    await clock.advance(0);
    const bobs = [call(bob, 'bob'), call(bob, 'bob')];
    await clock.advance(5_000);
    expect(served.slice(0, 5)).toEqual(['eve', 'eve', 'bob', 'eve', 'bob']);
    await clock.advance(20_000);
    expect(await Promise.all(bobs)).toEqual(['answered', 'answered']);
    const answers = await Promise.all(asked);
    expect(answers.filter((each) => each === 'answered')).toHaveLength(16);
    expect(answers.filter((each) => each === 'ERR_QUEUE_FULL')).toHaveLength(4);
  }
});

test.each([
  ['coalesce', coalesce()],
  ['cache', cache({ ttlMs: () => 60_000 })],
] as const)(
  '%s: params of more than 64 KiB, or of thousands of values, are put in no order: such a call is sent by itself',
  async (_name, middleware) => {
    const sort = vi.spyOn(Array.prototype, 'sort');
    const passed = through(middleware, () => bytes({}));
    const params = (length: number) => ({ name: 'p', arguments: { a: 'x'.repeat(length) } });
    await Promise.all([passed.call('prompts/get', params(70_000)), passed.call('prompts/get', params(70_000))]);
    const many = { name: 'p', arguments: { a: Array.from({ length: 5_000 }, () => []) } };
    await Promise.all([passed.call('prompts/get', many), passed.call('prompts/get', many)]);
    const sorted = sort.mock.calls.length;
    await Promise.all([passed.call('prompts/get', params(60_000)), passed.call('prompts/get', params(60_000))]);
    sort.mockRestore();
    expect(sorted).toBe(0);
    expect(passed.asked()).toBeGreaterThanOrEqual(5);
  },
);

test('cache: what a small result is known by counts too', async () => {
  const kept = through(cache({ maxBytes: 64 * 1_024, ttlMs: () => 60_000 }), () => bytes({}));
  for (const round of [1, 2]) {
    for (let at = 0; at < 100; at++) await kept.call('resources/read', { uri: `x:${at}` });
    // With 600 bytes and more each, a hundred are there.
    expect([round, kept.asked()]).toEqual([round, 100]);
  }
  for (let at = 100; at < 200; at++) await kept.call('resources/read', { uri: `x:${at}` });
  await kept.call('resources/read', { uri: 'x:0' });
  expect(kept.asked()).toBe(201);
});
