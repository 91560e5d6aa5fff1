import { expect, test } from 'vitest';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { failure } from '../../support/rawCalls.js';
import { fixture } from '../../support/servers.js';
import { call, open } from '../../support/stdioConnection.js';

const error = { code: -32602, message: 'Invalid params: no such column' };
const sending = (...messages: object[]): string => messages.map((each) => `send(${JSON.stringify(each)});`).join('');

/** Whose `initialized` is known to be read. */
async function opened() {
  const connection = await open([fixture('hostile-server.mjs')]);
  await call(connection, 'x');
  return connection;
}

test('an error that names no call ends the only one there is, with the server’s words, unless its answer comes right after', async () => {
  const failing = [{ id: null }, {}, { id: 'undefined' }, { id: -1 }, { id: 4_711 }].map(async (id) => {
    const connection = await opened();
    expect(await failure(call(connection, 'x', { js: sending({ ...id, error }) }))).toMatchObject({
      code: 'ERR_OUTCOME_UNKNOWN',
      message: expect.stringContaining('-32602 Invalid params: no such column'),
    });
    expect(connection.inFlight).toBe(0);
    // One that was about a call before.
    await call(connection, 'x', { js: `reply({}); ${sending({ ...id, error })}` });
    expect(await call(connection, 'x', { js: 'reply({ n: 5 })' })).toEqual({ n: 5 });
  });
  await Promise.all(failing);
});

test('it fails none of several, nor one beside another whose answer is still owed', async () => {
  const connection = await opened();
  const left = call(connection, 'x', { js: 'globalThis.later = reply' });
  const both = [call(connection, 'x', { js: `${sending({ id: null, error })} reply({ n: 1 })` }), left];
  expect(await both[0]).toEqual({ n: 1 });
  await call(connection, 'x', { js: 'globalThis.later({ n: 2 }); reply({})' });
  expect(await left).toEqual({ n: 2 });
  const gaveUp = new AbortController();
  const abandoned = failure(call(connection, 'x', { js: 'globalThis.later = reply' }, { signal: gaveUp.signal }));
  await call(connection, 'x');
  gaveUp.abort(new Error('enough'));
  await abandoned;
  await call(connection, 'x');
  expect(await call(connection, 'x', { js: `${sending({ id: null, error })} reply({ n: 3 })` })).toEqual({ n: 3 });
});

test('it fails no call while it may be about a notification, nor does what is no error of JSON-RPC', async () => {
  const connection = await open([fixture('hostile-server.mjs')]);
  const js = (...messages: object[]): object => ({ js: `${sending(...messages)} reply({ n: 4 })` });
  // Some servers answer `notifications/initialized` so, which is sent right before the first call.
  expect(await call(connection, 'x', js({ id: null, error }))).toEqual({ n: 4 });
  await connection.notify('notifications/roots/list_changed');
  expect(await call(connection, 'x', js({ error }))).toEqual({ n: 4 });
  // A line of a log, and the answer to a call that has settled.
  const log = { jsonrpc: null, level: 'warn', error: { code: 1, message: 'retrying' } };
  expect(await call(connection, 'x', js(log, { error: 'refused' }, { id: 1, error }))).toEqual({ n: 4 });
});

test('it ends no call while it may be about a reply of ours', async () => {
  const clock = new FakeClock();
  const connection = await open([fixture('hostile-server.mjs')], { clock, timeoutMs: 60_000 });
  await call(connection, 'x');
  // A server that takes the answer to what it asked for a request.
  const js = `${sending({ id: 's1', method: 'roots/list' })} globalThis.later = reply;`;
  const slow = failure(
    call(connection, 'x', { js: `${js} setTimeout(() => { ${sending({ id: null, error })} }, 50)` }),
  );
  await expect.poll(() => connection.counters.orphanRequests).toBe(1);
  await expect.poll(() => connection.counters.garbage).toBe(1);
  await clock.advance(10_000);
  expect(connection.inFlight).toBe(1);
  await connection.close({ graceMs: 0 });
  await slow;
});

test('it ends no call whose server tells of progress behind it', async () => {
  const clock = new FakeClock();
  const connection = await open([fixture('hostile-server.mjs')], { clock, timeoutMs: 60_000 });
  await call(connection, 'x');
  const heard: unknown[] = [];
  const progress = `send({ method: 'notifications/progress', params: { progressToken: id, progress: 1 } });`;
  const js = `${sending({ id: null, error })} ${progress} globalThis.later = reply`;
  const slow = call(connection, 'x', { js }, { onProgress: (each: unknown) => void heard.push(each) });
  await expect.poll(() => heard.length).toBe(1);
  clock.advance(10_000);
  await call(connection, 'x', { js: 'globalThis.later({ n: 6 }); reply({})' });
  expect(await slow).toEqual({ n: 6 });
});

test('of several calls it is about the one that is left when the others are answered', async () => {
  const clock = new FakeClock();
  const connection = await open([fixture('hostile-server.mjs')], { clock, timeoutMs: 60_000 });
  await call(connection, 'x');
  const answered = call(connection, 'x', { js: 'globalThis.other = reply' });
  const left = failure(call(connection, 'x', { js: sending({ id: null, error }) }));
  await call(connection, 'x', { js: 'globalThis.other({ n: 7 }); reply({})' });
  expect(await answered).toEqual({ n: 7 });
  await clock.advance(5_100);
  expect(await left).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN', message: expect.stringContaining('no such column') });
});

test.each(['{"error": NaN, "step": 3}', '{"result": {"content": ['])(
  'a line that begins as an answer and is no JSON, %s, fails no call whose answer comes right after',
  async (line) => {
    const clock = new FakeClock();
    const connection = await open([fixture('hostile-server.mjs')], { clock, timeoutMs: 60_000 });
    const js = `out(${JSON.stringify(line)} + '\\n');`;
    expect(await call(connection, 'x', { js: `${js} setImmediate(() => reply({ n: 8 }))` })).toEqual({ n: 8 });
    const lost = failure(call(connection, 'x', { js }));
    await expect.poll(() => connection.counters.garbage).toBe(2);
    await clock.advance(5_100);
    expect(await lost).toMatchObject({ code: 'ERR_PROTOCOL' });
  },
);
