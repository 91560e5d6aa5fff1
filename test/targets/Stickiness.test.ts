import { expect, test, vi } from 'vitest';
import { MAX_STICKY_SESSIONS, MAX_TOKENS, SEVERAL, Stickiness } from '../../src/targets/Stickiness.js';
import type { RoutedServer, Target } from '../../src/targets/Target.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { collectGarbage } from '../support/collectGarbage.js';

test('what targets give as cursors, tasks and states leads back to them, and is not kept itself', () => {
  const sticky = new Stickiness<RoutedServer>();
  const target = { id: 'a' } as Target<RoutedServer>;
  const token = (kind: string, i: number): string => `${kind}${i}${'x'.repeat(100_000)}`;
  const before = collectGarbage();
  for (let i = 0; i < 300; i++) {
    sticky.answered('tools/list', {}, { principal: 'ann' }, { nextCursor: token('cursor', i) }, target);
    sticky.answered('tools/call', {}, { principal: 'ann' }, { task: { taskId: token('task', i) } }, target);
    sticky.answered('tools/call', {}, { principal: 'ann' }, { requestState: token('state', i) }, target);
  }
  // All together they are 90 MB.
  expect(collectGarbage() - before).toBeLessThan(10e6);
  expect(sticky.targetOf({ cursor: token('cursor', 7) }, { principal: 'ann' })).toBe(target);
  expect(sticky.targetOf({ taskId: token('task', 7) }, { principal: 'ann' })).toBe(target);
  expect(sticky.targetOf({ requestState: token('state', 7) }, { principal: 'ann' })).toBe(target);
  expect(sticky.targetOf({ cursor: token('cursor', 7) }, { principal: 'bob' })).toBeUndefined();
  expect(sticky.targetOf({ cursor: token('cursor', 300) }, { principal: 'ann' })).toBeUndefined();
});

const targets = ['a', 'b'].map((id) => ({ id }) as Target<RoutedServer>) as [
  Target<RoutedServer>,
  Target<RoutedServer>,
];

test('the same state from two targets leads to the one that was asked the same', () => {
  const sticky = new Stickiness<RoutedServer>();
  const [a, b] = targets;
  const asked = (city: string) => ({ name: 'book', arguments: { city } });
  sticky.answered('tools/call', { ...asked('Bonn'), _meta: { progressToken: 1 } }, {}, { requestState: '1' }, a);
  sticky.answered('tools/call', asked('Rome'), {}, { requestState: '1' }, b);
  const again = { requestState: '1', inputResponses: {}, _meta: { progressToken: 2 } };
  expect(sticky.targetOf({ ...asked('Bonn'), ...again }, {})).toBe(a);
  expect(sticky.targetOf({ ...asked('Rome'), ...again }, {})).toBe(b);
  expect(sticky.targetOf({ ...asked('Oslo'), ...again }, {})).toBe(b);
  const deep = JSON.parse(`${'['.repeat(30_000)}${']'.repeat(30_000)}`) as unknown;
  sticky.answered('tools/call', { deep }, {}, { requestState: '2' }, a);
  expect(sticky.targetOf({ deep, requestState: '2' }, {})).toBe(a);
});

test('no sessions of one caller drive out those of another, and a target that is drained hears of those that went', async () => {
  const sticky = new Stickiness<RoutedServer>();
  const [a, b] = targets;
  sticky.bind({ principal: 'ann', key: '1' }, a);
  sticky.bind({ origin: '10.0.0.1', key: '2' }, a);
  const many = (i: number) => ({ origin: '10.0.0.2', key: `many${i}` });
  sticky.bind(many(-1), b);
  const left = sticky.left(b, { clock: new FakeClock(), timeoutMs: Number.POSITIVE_INFINITY });
  for (let i = 0; i < MAX_STICKY_SESSIONS; i++) {
    sticky.bind(many(i), a);
    if (i % 10_000 === 0) sticky.session(many(0));
  }
  await left;
  expect(sticky.sessions).toBeLessThanOrEqual(MAX_STICKY_SESSIONS);
  for (const kept of [{ principal: 'ann', key: '1' }, { origin: '10.0.0.1', key: '2' }, many(0)])
    expect(sticky.session(kept)?.target).toBe(a);
  expect([sticky.session(many(-1)), sticky.session(many(1))]).toEqual([undefined, undefined]);
});

test('a list of tasks leaves out those whose ids another target gave, too', async () => {
  const sticky = new Stickiness<RoutedServer>();
  const [a, b] = targets;
  const list = '{"tasks":[{"taskId":"1","n":1.0},{"taskId":"2"},{"taskId":"new"},null],"nextCursor":"3","n":1.0}';
  const left = (of: Target<RoutedServer>, result: unknown): Promise<unknown> => sticky.ownTasks('s', {}, result, of);
  const bytes = Buffer.from(list);
  expect(await left(a, bytes)).toBe(bytes);
  for (const [id, of] of [
    ['1', a],
    ['1', b],
    ['2', b],
  ] as const) {
    sticky.answered('tools/call', { task: {} }, {}, { task: { taskId: id } }, of);
  }
  expect(String(await left(a, bytes))).toBe('{"tasks":[{"taskId":"new"},null],"nextCursor":"3","n":1.0}');
  expect(await left(b, JSON.parse(list))).toMatchObject({ tasks: [{ taskId: '2' }, { taskId: 'new' }, null] });
});

test('a list of very many tasks is looked through in turns of the event loop', async () => {
  const sticky = new Stickiness<RoutedServer>();
  const [a] = targets;
  sticky.answered('tools/call', { task: {} }, {}, { task: { taskId: '1' } }, a);
  const tasks = Array.from({ length: 30_000 }, (_, i) => ({ taskId: String(i) }));
  let turns = 0;
  const turn = (): void => {
    turns++;
    timer = setImmediate(turn);
  };
  let timer = setImmediate(turn);
  expect(await sticky.ownTasks('s', {}, { tasks }, a)).toMatchObject({ tasks: { length: 30_000 } });
  clearImmediate(timer);
  expect(turns).toBeGreaterThan(1);
});

test('an answer is looked through for what leads back to its target without being parsed', async () => {
  const sticky = new Stickiness<RoutedServer>();
  const [a] = targets;
  const values = `"x":[${'[],'.repeat(100_000)}[]]`;
  const answer = `{"content":[],${values},"requestState":"st\\u0061te","taskId":"1","task":{${values},"taskId":"2"}}`;
  const parse = vi.spyOn(JSON, 'parse');
  sticky.answered('tools/call', {}, {}, Buffer.from(answer), a);
  sticky.answered('tools/list', {}, {}, Buffer.from(`{"tools":[],${values},"nextCursor":"3"}`), a);
  const longest = Math.max(...parse.mock.calls.map(([text]) => text.length));
  parse.mockRestore();
  expect(longest).toBeLessThan(100);
  for (const named of [{ requestState: 'state' }, { taskId: '1' }, { taskId: '2' }, { cursor: '3' }]) {
    expect(sticky.targetOf(named, {})).toBe(a);
  }
  const many = Buffer.from(`{"tasks":[],"x":[${'[],'.repeat(1_100_000)}[]]}`);
  await expect(sticky.ownTasks('s', {}, many, a)).rejects.toThrow('too many values');
});

test.each([
  { those: 'of another principal', one: { principal: 'ann' }, many: { principal: 'bob' } },
  { those: 'from elsewhere', one: { origin: '10.0.0.1' }, many: { origin: '10.0.0.2' } },
])('no callers $those drive out what leads a call back', ({ one, many }) => {
  const sticky = new Stickiness<RoutedServer>();
  const [a, b] = targets;
  sticky.answered('tools/call', { name: 'ask' }, one, { requestState: 'mine' }, a);
  sticky.answered('tools/call', { name: 'ask' }, one, { requestState: 'same' }, a);
  sticky.answered('tools/call', { task: {} }, one, { task: { taskId: '1' } }, a);
  sticky.answered('tools/list', {}, one, { nextCursor: 'page' }, a);
  // What both are given does not become that of the one who got it last.
  sticky.answered('tools/call', { name: 'ask' }, many, { requestState: 'same' }, a);
  for (let i = 0; i < 2 * MAX_TOKENS; i++) {
    sticky.answered('tools/call', { name: 'ask' }, many, { requestState: `s${i}` }, b);
  }
  for (const named of [{ requestState: 'mine' }, { requestState: 'same' }, { taskId: '1' }, { cursor: 'page' }]) {
    expect(sticky.targetOf({ name: 'ask', ...named }, one)).toBe(a);
  }
  expect(sticky.targetOf({ name: 'ask', requestState: 's0' }, many)).toBeUndefined();
  sticky.forget(a);
  expect(sticky.targetOf({ taskId: '1' }, one)).toBeUndefined();
});

test('of a call that makes a task its id is known as clients read it, however the answer is written', () => {
  for (const written of [
    '{"task":{"taskId":"other","taskId":"1"}}',
    '{"task":{"taskId":"other"},"task":{"taskId":"1"}}',
    '{"t\\u0061sk":{"task\\u0049d":"\\u0031"}}',
    `{"task":{"taskId":"1"},${Array.from({ length: 10_001 }, (_, at) => `"${at}":0`).join()}}`,
  ]) {
    const sticky = new Stickiness<RoutedServer>();
    const [a, b] = targets;
    sticky.answered('tools/call', { task: {} }, {}, { task: { taskId: '1' } }, a);
    sticky.answered('tools/call', { task: {} }, {}, Buffer.from(written), b);
    expect(sticky.targetOf({ taskId: '1' }, {})).toBe(SEVERAL);
  }
});
