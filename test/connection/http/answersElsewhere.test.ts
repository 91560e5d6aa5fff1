import type { ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { openHttp } from '../../support/httpServers.js';
import { call, failure, LEGACY } from '../../support/rawCalls.js';
import { type Exchange, RawServer, said } from '../../support/rawServer.js';

type Taking = (exchange: Exchange) => void;

const events = { 'content-type': 'text/event-stream' };
const TAKEN: [string, Taking][] = [
  ['202 without a body', ({ res }) => void res.writeHead(202).end()],
  ['202 with a body of its own', ({ json }) => json({ status: 'accepted' }, 202)],
  ['202 "Accepted"', ({ res }) => void res.writeHead(202).end('Accepted')],
  ['204', ({ res }) => void res.writeHead(204).end()],
  ['an empty 200', ({ res }) => void res.writeHead(200).end()],
  ['an empty 200 of JSON', ({ res }) => void res.writeHead(200, { 'content-type': 'application/json' }).end()],
  ['200 "Accepted"', ({ res }) => void res.writeHead(200, { 'content-type': 'text/plain' }).end('Accepted\n')],
  ['an empty event stream', ({ res }) => void res.writeHead(200, events).end()],
];

/** A server that takes calls so; `stream`: what it does with the GET stream, 405 without. */
async function taking(take: Taking, stream?: (res: ServerResponse) => void, more: object = {}) {
  const asked: number[] = [];
  const streams: ServerResponse[] = [];
  const server = await RawServer.listen({
    tools: {
      elsewhere: (exchange) => {
        take(exchange);
        asked.push(exchange.message.id);
      },
    },
    ...(stream && {
      get: ({ res }) => {
        stream(res);
        streams.push(res);
      },
    }),
  });
  const connection = await openHttp(server.url, { ...LEGACY, ...more });
  const answer = (id: number): void =>
    void streams.at(-1)?.write(`data: ${JSON.stringify({ jsonrpc: '2.0', id, result: said(`to ${id}`) })}\n\n`);
  return { connection, asked, streams, answer };
}

const open = (res: ServerResponse): void => res.writeHead(200, events).flushHeaders();

test.each(TAKEN)('a call that gets %s is answered on the stream of its session', async (_, take) => {
  const { connection, asked, streams, answer } = await taking(take, open);
  await expect.poll(() => streams.length).toBe(1);
  const calls = [call(connection, 'elsewhere'), call(connection, 'elsewhere')];
  await expect.poll(() => asked.length).toBe(2);
  for (const id of asked.toReversed()) answer(id);
  const texts = (await Promise.all(calls)) as { content: { text: string }[] }[];
  expect(texts.map(({ content }) => content[0]?.text).sort()).toEqual(asked.map((id) => `to ${id}`).sort());
  expect(connection.inFlight).toBe(0);
});

test.each(TAKEN)('where there is no such stream, %s is told at once', async (_, take) => {
  const { connection } = await taking(take);
  const slow = { timeoutMs: Number.POSITIVE_INFINITY, maxTotalTimeoutMs: Number.POSITIVE_INFINITY };
  expect(await failure(call(connection, 'elsewhere', {}, slow))).toMatchObject({
    message: expect.stringMatching(/it answered tools\/call with 20\d|no answer|without its answer/),
  });
});

test('when the stream ends before the answer came, the call is told; its session goes on', async () => {
  const { connection, asked, streams } = await taking(({ res }) => void res.writeHead(202).end(), open);
  await expect.poll(() => streams.length).toBe(1);
  const told = failure(call(connection, 'elsewhere', {}, { timeoutMs: Number.POSITIVE_INFINITY }));
  await expect.poll(() => asked.length).toBe(1);
  // The 202 has been read when another call behind it is answered.
  await call(connection, 'echo', { text: 'x' });
  streams[0]?.end();
  expect(await told).toMatchObject({ message: expect.stringContaining('it answered tools/call with 202') });
  expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
});

test('a call that is never answered there times out, and says that it was taken; one that is given up is let go of', async () => {
  const { connection, streams } = await taking(({ res }) => void res.writeHead(202).end(), open);
  await expect.poll(() => streams.length).toBe(1);
  expect(await failure(call(connection, 'elsewhere', {}, { timeoutMs: 300 }))).toMatchObject({
    code: 'ERR_REQUEST_TIMEOUT',
    message: expect.stringContaining('202'),
  });
  const signal = AbortSignal.timeout(100);
  expect(await failure(call(connection, 'elsewhere', {}, { signal }))).toBe(signal.reason);
  expect(connection.inFlight).toBe(0);
  streams[0]?.end();
  const left = failure(call(connection, 'elsewhere'));
  await connection.close({ graceMs: 0 });
  expect(await left).toBeInstanceOf(Error);
});

test('an error on that stream that names no call ends one that was taken, and none that its own response may answer', async () => {
  const clock = new FakeClock();
  const takes: Taking = ({ message, res }) => {
    if (message.params.arguments.taken === true) res.writeHead(202).end();
    else res.writeHead(200, events).flushHeaders();
  };
  const { connection, asked, streams } = await taking(takes, open, { clock });
  await expect.poll(() => streams.length).toBe(1);
  await call(connection, 'echo', { text: 'x' });
  const error = { code: -32603, message: 'it broke' };
  const breaks = (): void => void streams[0]?.write(`data: ${JSON.stringify({ jsonrpc: '2.0', id: null, error })}\n\n`);
  const own = failure(call(connection, 'elsewhere'));
  await expect.poll(() => asked.length).toBe(1);
  breaks();
  await expect.poll(() => connection.counters.garbage).toBe(1);
  await clock.advance(5_100);
  expect(connection.inFlight).toBe(1);
  await connection.close({ graceMs: 0 });
  expect(await own).not.toMatchObject({ message: expect.stringContaining('it broke') });
  const other = await taking(takes, open, { clock });
  await expect.poll(() => other.streams.length).toBe(1);
  await call(other.connection, 'echo', { text: 'x' });
  const lost = failure(call(other.connection, 'elsewhere', { taken: true }));
  await expect.poll(() => other.asked.length).toBe(1);
  // The 202 has been read when another call behind it is answered.
  await call(other.connection, 'echo', { text: 'x' });
  other.streams[0]?.write(`data: ${JSON.stringify({ jsonrpc: '2.0', id: null, error })}\n\n`);
  await expect.poll(() => other.connection.counters.garbage).toBe(1);
  await clock.advance(5_100);
  expect(await lost).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN', message: expect.stringContaining('it broke') });
});
