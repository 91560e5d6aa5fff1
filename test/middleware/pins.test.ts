import { expect, test, vi } from 'vitest';
import { MiddlewareChain } from '../../src/connection/calls/MiddlewareChain.js';
import { HeldTools } from '../../src/middleware/HeldTools.js';
import { Pins } from '../../src/middleware/ready/Pins.js';
import { countTurns } from '../support/countTurns.js';
import { listed } from '../support/hooks/planted.js';
import { through } from '../support/throughMiddleware.js';

test('a store of pins that hung once holds up no later look', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    const get = vi.fn<() => Promise<undefined>>().mockImplementationOnce(() => new Promise(() => undefined));
    const { middleware } = new Pins({ store: { get, set: async () => undefined } });
    const chain = new MiddlewareChain();
    chain.use(middleware);
    const hung = expect(listed(chain)).rejects.toMatchObject({ code: 'ERR_REQUEST_TIMEOUT' });
    const next = listed(chain);
    // On a busy machine the look waits for a turn first.
    while (vi.getTimerCount() === 0) await new Promise((resolve) => setImmediate(resolve));
    vi.advanceTimersByTime(5_000);
    await hung;
    expect((await next).value).toEqual({ tools: [{ name: 't' }] });
  } finally {
    vi.useRealTimers();
  }
});

test('a definition that depends on who asks is held back for those who are offered it, and for those who were offered none', async () => {
  const offers: Record<string, string> = { alice: 'for alice', bob: 'for bob', carol: 'for alice' };
  const told: string[] = [];
  const pins = new Pins({ onHeld: ({ offered }) => told.push(offered) });
  const server = through(pins.middleware, (params) => ({
    tools: [{ name: 't', description: offers[String(params?.['of'])] }],
  }));
  const list = async (principal: string): Promise<number> =>
    ((await server.call('tools/list', { of: principal }, { principal })).value as { tools: unknown[] }).tools.length;
  const call = (principal: string): Promise<unknown> =>
    server.call('tools/call', { name: 't' }, { principal }).catch(({ code }) => code);
  expect([await list('alice'), await list('bob'), await list('bob')]).toEqual([1, 0, 0]);
  expect([typeof (await call('alice')), await call('bob'), await call('dave')]).toEqual([
    'object',
    'ERR_FORBIDDEN',
    'ERR_FORBIDDEN',
  ]);
  // What another is offered takes nothing back.
  expect([await list('carol'), await call('bob'), told.length, pins.held.length]).toEqual([1, 'ERR_FORBIDDEN', 1, 1]);
  offers['alice'] = 'sends files away';
  expect([await list('alice'), await call('alice'), told.length, pins.held.length]).toEqual([0, 'ERR_FORBIDDEN', 2, 2]);
  expect(await pins.accept('s', 't')).toBe(true);
  expect([await list('alice'), typeof (await call('alice')), await call('bob')]).toEqual([
    1,
    'object',
    'ERR_FORBIDDEN',
  ]);
});

test('what is held back for very many is bounded: those who listed longest ago are forgotten, and refused as those who never did', () => {
  const held = new HeldTools();
  const list = (owner: string): void => {
    const own = held.of('s', owner);
    for (let i = 0; i < 2_000; i++) own.set(`t${i}`, { server: 's', tool: `t${i}`, pinned: 'p', offered: owner });
  };
  for (let i = 0; i < 30; i++) list(`owner-${i}`);
  held.of('s', 'good');
  expect(held.all()).toHaveLength(20_000);
  expect(held.get('s', 't1', 'owner-29')?.offered).toBe('owner-29');
  expect(held.get('s', 't1', 'owner-0')).toBeDefined();
  expect(held.get('s', 't1', 'good')).toBeUndefined();
  for (let i = 0; i < 1_100; i++) held.of('s', `other-${i}`);
  expect([held.all(), held.newest('s', 't1')]).toEqual([[], undefined]);
  const left = held.get('s', 't1', 'owner-29');
  expect(left).toBeDefined();
  expect(held.get('s', 't1', 'other-1099')).toBeUndefined();
  // It is offered again, and accepted: for all.
  if (left !== undefined) held.of('s', 'one').set('t1', left);
  expect(held.newest('s', 't1')).toBe(left);
  if (left !== undefined) held.accept(left);
  expect(held.get('s', 't1', 'owner-29')).toBeUndefined();
});

test('a list is read, compared and told on tool by tool; definitions of more than 128 KiB are left out, and held back where they are pinned', async () => {
  let list = '';
  const held: string[] = [];
  const pins = new Pins({ onHeld: ({ tool, offered }) => held.push(`${tool} ${offered}`) });
  const server = through(pins.middleware, () => Buffer.from(list));
  const told = async (): Promise<string> => (await server.call('tools/list')).text;
  // What stands beside the tools stays, to the digit.
  list = '{"a":1.0, "tools" : [ {"name":"t","n":1.0} , null,{"name":"u"} ],"nextCursor":"[{,"}';
  expect(await told()).toBe(list);
  list = list.replace('"u"', '"u","more":[1,{"x":[]}]');
  expect(await told()).toBe('{"a":1.0,"tools" : [ {"name":"t","n":1.0} , null],"nextCursor":"[{,"}');
  const long = `"${'x'.repeat(128 * 1_024)}"`;
  list = `{"tools":[{"name":"t","n":${long}},{"name":"v"},{"name":"w","n":${long}}]}`;
  expect(await told()).toBe('{"tools":[{"name":"v"}]}');
  expect(held).toEqual([expect.stringMatching(/^u /), 't too long']);
  expect(await pins.accept('s', 't')).toBe(false);
  expect(await told()).toBe('{"tools":[{"name":"v"}]}');
  for (const name of ['t', 'w'])
    await expect(server.call('tools/call', { name })).rejects.toMatchObject({ code: 'ERR_FORBIDDEN' });
  list = '{"tools":[{"name":"t","n":1.0}]}';
  expect(await told()).toBe(list);
  for (list of ['{"tools":[{"name":"evil"}],"tools":5}', '{}', '[]', `{"x":"${'x'.repeat(300_000)}","tools":[]}`])
    await expect(told()).rejects.toMatchObject({ code: 'ERR_PROTOCOL' });
  list = `{"tools":[${Array.from({ length: 20_000 }, (_, at) => `{"name":"n${at}","n":9007199254740993}`).join(',')}]}`;
  using turns = countTurns();
  expect((await server.call('tools/list')).text.length).toBeLessThan(list.length);
  expect(turns.count).toBeGreaterThan(10);
});
