import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { ReferenceServer } from '../../../src/bench/reference/ReferenceServer.js';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import type { HistoryEvent } from '../../../src/testing/history/HistoryEvent.js';
import { differences } from '../../../src/testing/replay/differences.js';
import { Playback } from '../../../src/testing/replay/Playback.js';
import { closeAfter } from '../../support/closeAfter.js';

const deep = (levels = 8_000): string => `${'['.repeat(levels)}${']'.repeat(levels)}`;
/** No text can be made of it. */
const NO_TEXT = '{"toString":1,"valueOf":1}';
const post = async (url: string, body: string): Promise<string> => {
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  return (await fetch(url, { method: 'POST', headers, body })).text();
};

test('values that no text can be made of, and messages of any depth, are refused by a fake server, which serves on', async () => {
  const server = closeAfter(fakeServer({ name: 's', tools: { echo: {} }, resources: {}, prompts: {} }));
  const { url } = await server.listen();
  const bodies = [
    `"method":"tools/call","params":{"name":${NO_TEXT}}`,
    `"method":"resources/read","params":{"uri":${NO_TEXT}}`,
    `"method":"prompts/get","params":{"name":${NO_TEXT}}`,
    `"method":"tools/call","params":{"name":${deep()}}`,
    `"method":"tools/call","params":{"name":"echo","arguments":${deep()}}`,
    `"method":"initialize","params":{"protocolVersion":${deep()},"_meta":${deep()}}`,
    `"method":"tools/list","params":{"cursor":${NO_TEXT}}`,
  ];
  for (const [id, each] of bodies.entries()) await post(url, `{"jsonrpc":"2.0","id":${id},${each}}`);
  const asked = await post(url, `{"jsonrpc":"2.0","id":1,${bodies[0]}}`);
  expect(asked).toContain('unknown tool an object');
  expect(await post(url, '{"jsonrpc":"2.0","id":2,"method":"ping"}')).toContain('"result":{}');
});

test('the reference server answers what is no request as such, and serves on', async () => {
  const [input, output] = [new PassThrough(), new PassThrough({ encoding: 'utf8' })];
  const over = new ReferenceServer().serveStdio(input, output);
  const id = '"jsonrpc":"2.0","id":1';
  const lines = [
    `{"jsonrpc":"2.0","id":${deep()},"method":"ping"}`,
    `{${id},"method":${NO_TEXT}}`,
    `{${id},"method":"initialize","params":{"protocolVersion":${deep()}}}`,
    `{"jsonrpc":"2.0","id":2,"method":"ping"}`,
  ];
  input.end(`${lines.join('\n')}\n`);
  await over;
  output.end();
  const answers = (await output.toArray()).join('').trim().split('\n');
  expect(answers.map((line) => JSON.parse(line).id)).toEqual([null, null, 1, 2]);
});

test('what is nested too deep to be compared or shown differs from what was recorded', () => {
  const args = JSON.parse(deep()) as unknown;
  const request = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'a', arguments: args } } as const;
  const event = { type: 'message', server: 's', wire: 'w' } as const;
  const playback = new Playback([
    { ...event, atMs: 1, from: 'client', message: { ...request, params: { name: 'a' } } },
    { ...event, atMs: 2, from: 'client', message: request },
  ] as unknown as HistoryEvent[]);
  const again = { ...request, params: { name: 'a', arguments: JSON.parse(deep()) as unknown } };
  expect(playback.take(again)).toBeUndefined();
  expect(playback.miss(again)).toContain('nested too deep to be shown is not in the recording');
  expect(playback.missing).toHaveLength(2);
  expect(differences({ a: args }, { a: JSON.parse(deep()) })).toEqual([expect.stringContaining('deeper than 1000')]);
  const long = differences({ ['k'.repeat(100_000)]: 1 }, {});
  expect(long).toEqual([expect.stringMatching(/^k{117}\.\.\.: recorded 1, got nothing$/)]);
  let looked = 0;
  const each = { toJSON: () => looked++ };
  expect(differences(new Array(1_000).fill(0), new Array(1_000).fill(each)).at(-1)).toBe('and 990 more places');
  expect(looked).toBe(10);
  expect(differences({ a: JSON.parse(deep(500)) }, { a: JSON.parse(deep(500)) })).toEqual([]);
});
