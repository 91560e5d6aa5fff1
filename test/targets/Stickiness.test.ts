import { expect, test, vi } from 'vitest';
import { Stickiness } from '../../src/targets/Stickiness.js';
import type { RoutedServer, Target } from '../../src/targets/Target.js';
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

test('a list of tasks leaves out those whose ids another target gave, too', () => {
  const sticky = new Stickiness<RoutedServer>();
  const [a, b] = targets;
  const list = '{"tasks":[{"taskId":"1","n":1.0},{"taskId":"2"},{"taskId":"new"},null],"nextCursor":"3","n":1.0}';
  const left = (of: Target<RoutedServer>, result: unknown): unknown => sticky.ownTasks('s', {}, result, of);
  const bytes = Buffer.from(list);
  expect(left(a, bytes)).toBe(bytes);
  for (const [id, of] of [
    ['1', a],
    ['1', b],
    ['2', b],
  ] as const) {
    sticky.answered('tools/call', { task: {} }, {}, { task: { taskId: id } }, of);
  }
  expect(String(left(a, bytes))).toBe('{"tasks":[{"taskId":"new"},null],"nextCursor":"3","n":1.0}');
  expect(left(b, JSON.parse(list))).toMatchObject({ tasks: [{ taskId: '2' }, { taskId: 'new' }, null] });
});

test('an answer is looked through for what leads back to its target without being parsed', () => {
  const sticky = new Stickiness<RoutedServer>();
  const [a] = targets;
  const values = `"x":[${'[],'.repeat(100_000)}[]]`;
  const answer = `{"content":[],${values},"requestState":"st\\u0061te","taskId":"1","task":{${values},"taskId":"2"}}`;
  const parse = vi.spyOn(JSON, 'parse');
  sticky.answered('tools/call', { task: {} }, {}, Buffer.from(answer), a);
  sticky.answered('tools/list', {}, {}, Buffer.from(`{"tools":[],${values},"nextCursor":"3"}`), a);
  const longest = Math.max(...parse.mock.calls.map(([text]) => text.length));
  parse.mockRestore();
  expect(longest).toBeLessThan(100);
  for (const named of [{ requestState: 'state' }, { taskId: '1' }, { taskId: '2' }, { cursor: '3' }]) {
    expect(sticky.targetOf(named, {})).toBe(a);
  }
  const many = Buffer.from(`{"tasks":[],"x":[${'[],'.repeat(1_100_000)}[]]}`);
  expect(() => sticky.ownTasks('s', {}, many, a)).toThrow('too many values');
});
