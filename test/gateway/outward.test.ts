import { expect, test, vi } from 'vitest';
import { Outward } from '../../src/gateway/aggregate/passage/Outward.js';
import { Passage, type PassageOptions } from '../../src/gateway/aggregate/passage/Passage.js';
import type { TaskIds } from '../../src/gateway/aggregate/passage/TaskIds.js';
import type { Uris } from '../../src/gateway/aggregate/uris/Uris.js';
import type { Downstream } from '../../src/gateway/endpoint/Endpoint.js';

const outward = vi.fn((_server: string, uri: string) => `poolkit:s/${uri}`);
const words = new Outward(
  { prepare: async () => undefined, outward } as unknown as Uris,
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
  const passage = new Passage({
    callers: { request: async () => answer },
    levels: { tell: async () => undefined },
    uris: {},
    pool: { servers: () => ['s'] },
  } as unknown as PassageOptions);
  const session = {} as Downstream;
  await passage.send({ server: 's', session, method: 'tools/call' }, { params: {} }, {});
  // Readers take the last of members of one name.
  expect(['1', '2', '3'].map((id) => passage.ownTasks.has('s', session, id))).toEqual([false, false, true]);
});
