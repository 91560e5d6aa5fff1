import { expect, test } from 'vitest';
import { isToolError } from '../../src/connection/calls/toolError.js';
import type { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { resultProblem } from '../../src/targets/routes.js';
import { closeAfter } from '../support/closeAfter.js';
import { failure } from '../support/rawCalls.js';
import { RawServer, said as saying } from '../support/rawServer.js';
import { said } from '../support/stdioPool.js';
import { idempotent, pool, several } from '../support/upstreams.js';

/** Two targets, of which `failover` takes the first; each answers calls and lists with its result. */
async function answering(...results: readonly unknown[]): Promise<UnifiedPool> {
  const listen = async (result: unknown): Promise<{ readonly url: string; readonly transport: 'http' }> => {
    const server = await RawServer.listen({
      before: ({ message, json }) => {
        if (message?.method !== 'tools/call' && message?.method !== 'tools/list') return false;
        json({ jsonrpc: '2.0', id: message.id, result });
        return true;
      },
    });
    return { url: closeAfter(server).url, transport: 'http' };
  };
  const of = pool();
  of.addServer(several(await Promise.all(results.map(listen)), { balance: 'failover', era: 'legacy' }));
  await of.startServer('app');
  return of;
}

const call = (of: UnifiedPool, options: object): Promise<string> =>
  said(of.request('app', 'tools/call', { name: 'who' }, options));

test.each([[null], ['text'], [5], [['list']]])('a result %j is a failure of its target', async (result) => {
  const of = await answering(result, saying('b'));
  const eve = { caller: { origin: 'eve' } };
  expect(await failure(call(of, { caller: { origin: 'bob' } }))).toMatchObject({ code: 'ERR_PROTOCOL' });
  expect(await call(of, { ...eve, ...idempotent })).toBe('b');
  expect(await call(of, eve)).toBe('b');
  // Nor is it a quick answer.
  expect(of.stats('app').targets?.map(({ ewmaMs }) => ewmaMs === undefined)).toEqual([true, false]);
});

test.each([[null], [{}], [{ tools: null }], [{ tools: 'x' }], [{ tools: [null, 1] }], [{ tools: {} }]])(
  'a list %j is a failure of its target, and another one lists',
  async (result) => {
    const of = await answering(result, { tools: [{ name: 'look', inputSchema: { type: 'object' } }] });
    expect((await of.listAll('app', 'tools')).items).toHaveLength(1);
    expect(await of.request('app', 'tools/list')).toMatchObject({ tools: [{ name: 'look' }] });
  },
);

test('an item that is none is left out of a list, and the rest of its target’s list stands', async () => {
  const of = await answering({ tools: [null, { name: 'look', inputSchema: { type: 'object' } }] }, { tools: [] });
  expect((await of.listAll('app', 'tools')).items).toMatchObject([null, { name: 'look' }]);
});

test('a tool’s error tells nothing of how quick its target is', async () => {
  const of = await answering({ ...saying('no'), isError: true }, saying('b'));
  await call(of, {});
  expect(of.stats('app').targets?.[0]).toMatchObject({ picked: 1, ewmaMs: undefined, ejected: false });
});

test('a result is told by what stands in it, in bytes too', () => {
  const raw = (text: string): Buffer => Buffer.from(text);
  const problems = (method: string, ...texts: readonly string[]): boolean[] =>
    texts.flatMap((text) => [resultProblem(method, raw(text)), resultProblem(method, JSON.parse(text))]).map(Boolean);
  expect(problems('tools/call', '{}', '{"content":[]}')).toEqual(Array(4).fill(false));
  expect(problems('tools/call', 'null', '"x"', '[]', '1')).toEqual(Array(8).fill(true));
  for (const method of ['ping', 'resources/subscribe'])
    expect(problems(method, '[]', 'null')).toEqual(Array(4).fill(false));
  expect(problems('prompts/list', '{"prompts":[]}', '{ "x":1, "prompts" : [ {} ] }')).toEqual(Array(4).fill(false));
  const some = ['{"prompts":[null,{}]}', '{"prompts": [ "]" , [] , {"a":1} ] }'];
  expect(problems('prompts/list', ...some)).toEqual(Array(4).fill(false));
  const no = ['{"tools":[]}', '{"prompts":[1]}', '{"prompts": [ 1 , "{" , [{}] ] }', '{"prompts":{}}'];
  expect(problems('prompts/list', ...no)).toEqual(Array(8).fill(true));
  expect(['{"isError": true}', '{"isError"\n:\ttrue,"a":1}'].map((text) => isToolError(raw(text)))).toEqual([
    true,
    true,
  ]);
  const none = [
    '{"isError":false}',
    '{"isError":"true"}',
    '{"a":{"isError":true}}',
    '{"a":"\\"isError\\":true"}',
    '{}',
  ];
  expect(none.map((text) => isToolError(raw(text)))).toEqual(none.map(() => false));
});
