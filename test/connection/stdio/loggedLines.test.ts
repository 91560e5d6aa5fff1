import { expect, test } from 'vitest';
import { failure } from '../../support/rawCalls.js';
import { fixture } from '../../support/servers.js';
import { call, open } from '../../support/stdioConnection.js';

const LOGGED: readonly (readonly [string, string])[] = [
  ['a result', `{ level: 30, time: 1, id, result: { rows: 'of another' } }`],
  ['a result behind its id', `{ id, result: { rows: 'of another' }, level: 30 }`],
  ['an error in words', `{ level: 50, id, error: 'db slow, retrying' }`],
  ['an error', `{ level: 50, id: String(id), error: { code: -1, message: 'db slow, retrying' } }`],
  ['a large result', `{ level: 30, id, result: { rows: 'x'.repeat(300_000) } }`],
];

test.each(LOGGED)('a line of a log with a call’s id and %s is no answer', async (_, line) => {
  const connection = await open([fixture('hostile-server.mjs')]);
  const js = `out(JSON.stringify(${line}) + '\\n'); reply({ n: 1 });`;
  for (const raw of [false, true]) {
    const answer = await call(connection, 'x', { js }, { raw });
    expect(raw ? JSON.parse(String(answer)) : answer).toEqual({ n: 1 });
  }
});

test('an answer without its version is one, where it says nothing else', async () => {
  const connection = await open([fixture('hostile-server.mjs')]);
  for (const raw of [false, true]) {
    const js = `out(JSON.stringify({ id, error: null, result: { n: 2 } }) + '\\n');`;
    const answer = await call(connection, 'x', { js }, { raw });
    expect(raw ? JSON.parse(String(answer)) : answer).toEqual({ n: 2 });
  }
  const js = `out(JSON.stringify({ id, error: { code: -5, message: 'no' } }) + '\\n');`;
  expect(await failure(call(connection, 'x', { js }))).toMatchObject({ code: 'ERR_RPC', rpcCode: -5 });
});
