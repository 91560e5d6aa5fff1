import { expect, test } from 'vitest';
import { RequestTimeoutError, StartError } from '../../../src/core/errors.js';
import { EVERYTHING } from '../../support/everything.js';
import { call, echoArgs as echo, open, said } from '../../support/stdioConnection.js';

test('a real server is initialised, lists its tools and answers a call', async () => {
  const connection = await open([EVERYTHING]);
  expect(connection.info.era).toBe('legacy');
  expect(connection.info.protocolVersion).toBe('2025-11-25');
  const { tools } = (await connection.request('tools/list', {}, {})) as { tools: { name: string }[] };
  expect(tools.map((tool) => tool.name)).toContain('echo');
  expect(await call(connection, 'echo', { message: 'hi' })).toMatchObject(said('Echo: hi'));
});

test('a thousand calls at once each get their own answer', async () => {
  const connection = await open(echo());
  const texts = Array.from({ length: 1_000 }, (_, i) => `text ${i}`);
  const answers = await Promise.all(texts.map((text) => call(connection, 'echo', { text })));
  expect(answers).toEqual(texts.map(said));
  expect(connection.counters).toEqual({
    calls: 1_001,
    lateReplies: 0,
    garbage: 0,
    orphanRequests: 0,
    callbackErrors: 0,
  });
});

test('a timeout cancels the call upstream and keeps the connection', async () => {
  const connection = await open(echo());
  const late = call(connection, 'sleep', { ms: 60_000 }, { timeoutMs: 30 });
  await expect(late).rejects.toThrow(RequestTimeoutError);
  expect(await call(connection, 'calls')).toMatchObject(said(expect.stringContaining('"notifications/cancelled":1')));
});

test('a server that exits at its start is a StartError with its code and last words', async () => {
  const failure = await open(echo('--exit-at-start')).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(StartError);
  expect(failure).toMatchObject({ exitCode: 3, stderr: ['cannot start: no such luck'] });
});
