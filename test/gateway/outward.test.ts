import { expect, test, vi } from 'vitest';
import { keepParams, textOf } from '../../src/connection/channel/codec/exactText.js';
import { META_RELATED_TASK } from '../../src/connection/protocol/metaKeys.js';
import { Outward } from '../../src/gateway/aggregate/passage/Outward.js';
import { Passage, type PassageOptions } from '../../src/gateway/aggregate/passage/Passage.js';
import type { TaskIds } from '../../src/gateway/aggregate/passage/TaskIds.js';
import type { Uris } from '../../src/gateway/aggregate/uris/Uris.js';
import type { Downstream } from '../../src/gateway/endpoint/Endpoint.js';
import type { ServerNotice } from '../../src/pool/McpPool.js';
import { ownTasks } from '../support/ownTasks.js';

const outward = vi.fn((_server: string, uri: string) => `poolkit:s/${uri}`);
const known = vi.fn(() => ({ resources: [], templates: [] }));
const words = new Outward(
  { prepare: async () => undefined, outward, known } as unknown as Uris,
  { exposed: (_server: string, id: string) => `s:${id}` } as unknown as TaskIds,
);
const cross = async (text: string): Promise<string> => {
  const crossing = { server: 's', session: {} as Downstream, method: 'tools/call' };
  return Buffer.from((await words.result(Buffer.from(text), crossing)) as Uint8Array).toString();
};

test('URIs are known by where the protocol has them, at its depth, and by nothing else', async () => {
  const link = '{"type":"resource_link","uri":"a:1"}';
  expect(await cross(`{"content":[${link}],"structuredContent":{"content":[${link}]},"uri":"a:2"}`)).toBe(
    `{"content":[${link.replace('a:1', 'poolkit:s/a:1')}],"structuredContent":{"content":[${link}]},"uri":"a:2"}`,
  );
});

test('the places of a deep answer are not compared level by level', async () => {
  const { some } = Array.prototype;
  let levels = 0;
  const counted = vi.spyOn(Array.prototype, 'some').mockImplementation(function (this: unknown[], ...args) {
    levels += this.length;
    return some.apply(this, args);
  });
  const deep = `{"content":${'{"uri":"a:1","content":'.repeat(2_000)}{}${'}'.repeat(2_001)}`;
  const shown = await cross(deep);
  counted.mockRestore();
  expect(JSON.parse(shown)).toBeTypeOf('object');
  expect(levels).toBeLessThan(2_000);
});

test('an answer makes one task, however often it names one', async () => {
  const answer = Buffer.from('{"task":{"taskId":"1"},"task":{"taskId":"2"},"task":{"taskId":"3"}}');
  const tasks = ownTasks();
  const passage = new Passage({
    callers: { request: async () => answer, tasks },
    levels: { tell: async () => undefined },
    uris: {},
    pool: { servers: () => ['s'] },
  } as unknown as PassageOptions);
  const session = { key: 'k' } as Downstream;
  await passage.send(
    { server: 's', session, method: 'tools/call' },
    { params: { task: {} }, paramsText: undefined },
    {},
    {},
  );
  // Readers take the last of members of one name.
  expect(['1', '2', '3'].map((id) => tasks.has('s', session, id))).toEqual([false, false, true]);
});

test.each([
  ['list_changed of a task', 'notifications/tools/list_changed', {}],
  ['an update', 'notifications/resources/updated', { uri: 'a:1' }],
  ['an update of a task', 'notifications/resources/updated', { uri: 'a:1' }],
])('%s is made once for all sessions for which it says the same', (title, method, more) => {
  const _meta = title.includes('task') ? { [META_RELATED_TASK]: { taskId: '1' } } : {};
  const params = { pad: 1, ...more, _meta };
  const [one, other] = [1, 2].map(() => words.notice({ method, params }, 's', {} as Downstream).params);
  expect(one).toEqual({
    pad: 1,
    ...('uri' in more && { uri: 'poolkit:s/a:1' }),
    _meta: title.includes('task') ? { [META_RELATED_TASK]: { taskId: 's:1' } } : {},
  });
  expect(other).toBe(one);
});

test('a notification of a task is gone through a few times, however many members it has', () => {
  const many = Object.fromEntries(Array.from({ length: 5_000 }, (_, at) => [`k${at}`, {}]));
  const params = { ...many, _meta: { [META_RELATED_TASK]: { taskId: '1' }, n: 1 } };
  const text = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/message', params }).replace('"n":1', '"n":1.0');
  keepParams(params, text);
  const { charCodeAt } = String.prototype;
  let looks = 0;
  const counted = vi.spyOn(String.prototype, 'charCodeAt').mockImplementation(function (this: string, at) {
    looks++;
    return charCodeAt.call(this, at);
  });
  const notice = words.notice({ method: 'notifications/message', params } as ServerNotice, 's', {} as Downstream);
  counted.mockRestore();
  expect(textOf(notice.params)).toBe(
    text.slice(text.indexOf('"params":') + 9, -1).replace('"taskId":"1"', '"taskId":"s:1"'),
  );
  expect(looks / text.length).toBeLessThan(3.6);
});

test('the lists are looked up once for all URIs of a message, and one notification is worth one message for all sessions', async () => {
  known.mockClear();
  const links = Array.from({ length: 20 }, (_, at) => `{"uri":"a:${at}"}`).join();
  await cross(`{"content":[${links}]}`);
  expect(known).toHaveBeenCalledTimes(1);
  outward.mockClear();
  const notice: ServerNotice = { method: 'notifications/resources/updated', params: { uri: 'a:1' } };
  for (let at = 0; at < 3; at++) words.notice(notice, 's', {} as Downstream);
  const works = outward.mock.calls.map((args: readonly unknown[]) => args[3]);
  expect([works.length, new Set(works).size]).toEqual([3, 1]);
});
