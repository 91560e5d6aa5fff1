import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Progress, RequestHandler, ServerNotice } from '../../../src/connection/protocol/messages.js';
import { StdioConnection } from '../../../src/connection/stdio/StdioConnection.js';
import { RpcError } from '../../../src/core/errors.js';
import { ManagedProcess } from '../../../src/registry/process/ManagedProcess.js';
import { readProcess } from '../../../src/registry/process/processTable.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { closeAfter } from '../../support/closeAfter.js';
import { fixture } from '../../support/servers.js';
import { call, echoArgs, OPTIONS, open, said } from '../../support/stdioConnection.js';

const MB = 1024 * 1024;
const sizeOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
const failing = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error: unknown) => error);
const text = async (connection: StdioConnection, name: string, args = {}, options = {}): Promise<string> =>
  ((await call(connection, name, args, options)) as { content: { text: string }[] }).content[0]?.text ?? '';

test('a crash in the middle of a call fails it at once, as unknown', async () => {
  const connection = await open(echoArgs());
  const [failure, other] = await Promise.all([
    failing(call(connection, 'exit')),
    failing(call(connection, 'sleep', { ms: 60_000 })),
  ]);
  expect(failure).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN', message: expect.stringContaining('with code 1') });
  expect(other).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' });
  expect(await failing(call(connection, 'echo'))).toMatchObject({ code: 'ERR_NOT_SENT' });
  expect(connection.alive).toBe(false);
});

test('a crash in the middle of a message fails its call, and the half line is counted', async () => {
  const connection = await open(echoArgs());
  expect(await failing(call(connection, 'half-exit'))).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' });
  expect(connection.counters.garbage).toBe(1);
});

test.each([10, MB / 2])('a crash %i bytes into an answer is an unknown outcome, with the exit', async (bytes) => {
  const connection = await open([fixture('hostile-server.mjs')]);
  const begun = '{"jsonrpc":"2.0","id":\' + id + \',"result":{"text":"';
  const js = `process.stdout.write('${begun}' + 'x'.repeat(${bytes}), () => process.exit(3))`;
  expect(await failing(call(connection, 'x', { js }))).toMatchObject({
    code: 'ERR_OUTCOME_UNKNOWN',
    message: expect.stringContaining('with code 3'),
  });
});

test('a deadline that comes while the event loop stands still is told as it was given', async () => {
  const connection = await open([fixture('hostile-server.mjs')]);
  const js = 'undefined';
  const hanging = failing(call(connection, 'x', { js }, { untilMs: performance.now() + 100 }));
  await new Promise<void>((resolve) => {
    setImmediate(() => {
      const startMs = performance.now();
      while (performance.now() - startMs < 300);
      resolve();
    });
  });
  const failure = (await hanging) as { readonly code?: string; readonly timeoutMs?: number };
  expect(failure.code).toBe('ERR_REQUEST_TIMEOUT');
  expect(failure.timeoutMs).toBeLessThanOrEqual(100);
});

test('answers that came while the event loop stood still are no timeouts', async () => {
  const connection = await open([fixture('hostile-server.mjs')]);
  const folder = mkdtempSync(join(tmpdir(), 'poolkit-stall-'));
  const answered = join(folder, 'answered');
  const js = `reply({ n: ${'1'.repeat(1_000)} }); process.getBuiltinModule('fs').appendFileSync(${JSON.stringify(answered)}, 'x')`;
  const calls = Array.from({ length: 20 }, () => failing(call(connection, 'x', { js }, { timeoutMs: 100 })));
  // Behind an immediate Node fires timers before it reads.
  await new Promise<void>((resolve) => {
    setImmediate(() => {
      const startMs = performance.now();
      const spentMs = (): number => performance.now() - startMs;
      while (spentMs() < 200 || (sizeOf(answered) < calls.length && spentMs() < 10_000));
      resolve();
    });
  });
  expect((await Promise.all(calls)).filter((each) => each instanceof Error)).toEqual([]);
  rmSync(folder, { recursive: true });
});

test('what a killed server had already answered is still an answer', async () => {
  const connection = await open(echoArgs());
  expect(await text(connection, 'answer-exit')).toBe('last words');
});

test('a grandchild that holds the output delays no failure, and dies with the connection', async () => {
  const connection = await open(echoArgs());
  const late = failing(call(connection, 'sleep', { ms: 60_000 }));
  expect(await failing(call(connection, 'grandchild'))).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' });
  expect(await late).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' });
  // The leak check after the test finds it if it lives.
  await connection.close();
});

test('two answers are one answer and a late one; answers to nobody are garbage', async () => {
  const connection = await open(echoArgs());
  expect(await text(connection, 'twice')).toBe('once');
  expect(await text(connection, 'stranger')).toBe('own');
  expect(connection.counters).toMatchObject({ lateReplies: 1, garbage: 2 });
});

test('lines that are no JSON, and JSON that is no message, are counted and passed over', async () => {
  const connection = await open(echoArgs());
  expect(await text(connection, 'garbage')).toBe('after garbage');
  // A log line, half an object, null and 42; an empty array holds no message.
  expect(connection.counters.garbage).toBe(4);
  expect(await text(connection, 'echo', { text: 'still here' })).toBe('still here');
});

test('characters cut anywhere, line ends of two bytes, and arrays of messages arrive whole', async () => {
  const notices: ServerNotice[] = [];
  const connection = await open(echoArgs());
  connection.onNotification((notice) => notices.push(notice));
  expect(await text(connection, 'split')).toBe('grüße 👋 日本');
  expect(await text(connection, 'crlf')).toBe('crlf');
  expect(await text(connection, 'batch')).toBe('batched');
  expect(notices).toEqual([{ method: 'notifications/message', params: { level: 'info', data: 'in a batch' } }]);
  expect(connection.counters.garbage).toBe(0);
});

test('a flood of stderr blocks nobody', async () => {
  const connection = await open(echoArgs());
  const flood = call(connection, 'stderr', { lines: 20_000 });
  expect(await text(connection, 'echo', { text: 'a' })).toBe('a');
  expect(await flood).toMatchObject(said('flooded'));
});

test('a reply of 50 MB arrives whole', async () => {
  const connection = await open(echoArgs(), { maxMessageBytes: 64 * MB });
  expect((await text(connection, 'size', { bytes: 50 * MB })).length).toBe(50 * MB);
});

test('a reply over the cap fails its own call, with its id first or last, and no other', async () => {
  const connection = await open(echoArgs(), { maxMessageBytes: 64 * 1024 });
  const sleeping = call(connection, 'sleep', { ms: 50 });
  for (const name of ['size', 'size-id-last']) {
    expect(await failing(call(connection, name, { bytes: MB }))).toMatchObject({
      code: 'ERR_MESSAGE_TOO_LARGE',
      direction: 'incoming',
      maxBytes: 64 * 1024,
    });
  }
  expect(await sleeping).toMatchObject(said('slept'));
  expect(connection.alive).toBe(true);
  expect(await failing(call(connection, 'echo', { text: 'x'.repeat(MB) }))).toMatchObject({
    code: 'ERR_MESSAGE_TOO_LARGE',
    direction: 'outgoing',
    acted: 'no',
  });
});

test('a reply over the cap without an id at its edges fails the call that is left when all others are answered', async () => {
  const connection = await open(echoArgs(), { maxMessageBytes: 64 * 1024 });
  const large = failing(call(connection, 'size-no-id', { bytes: MB }));
  expect(await text(connection, 'echo', { text: 'behind it' })).toBe('behind it');
  expect(await large).toMatchObject({ code: 'ERR_MESSAGE_TOO_LARGE', maxBytes: 64 * 1024 });
  expect(connection.alive).toBe(true);
});

test('50 MB to a reader that has stopped: it is sent, the rest waits its time and never ran', async () => {
  const connection = await open(echoArgs(), { maxMessageBytes: 64 * MB, acquireTimeoutMs: 150 });
  expect(await text(connection, 'stop-reading')).toBe('not listening');
  const large = failing(call(connection, 'echo', { text: 'x'.repeat(50 * MB) }, { timeoutMs: 400 }));
  // In the turn of the large one, which fills its batch, and after it.
  const behind = [failing(call(connection, 'echo')), failing(call(connection, 'echo'))];
  await new Promise((resolve) => setImmediate(resolve));
  behind.push(failing(call(connection, 'echo')));
  const control = new AbortController();
  const aborted = failing(call(connection, 'echo', {}, { signal: control.signal, acquireTimeoutMs: 60_000 }));
  const reason = new Error('no longer');
  control.abort(reason);
  expect(await aborted).toBe(reason);
  for (const each of behind) expect(await each).toMatchObject({ code: 'ERR_ACQUIRE_TIMEOUT', acted: 'no' });
  expect(await large).toMatchObject({ code: 'ERR_REQUEST_TIMEOUT', timeoutMs: 400 });
  expect(connection.unsentBytes).toBeGreaterThan(49 * MB);
  await connection.close({ graceMs: 0 });
});

test('what a stopped reader does not take is bounded; who gave up makes room', async () => {
  const connection = await open(echoArgs(), { maxMessageBytes: MB });
  await text(connection, 'stop-reading');
  const big = { text: 'x'.repeat(MB - 1000) };
  const first = [1, 2, 3].map(() => failing(call(connection, 'echo', big, { acquireTimeoutMs: 200, timeoutMs: 200 })));
  await new Promise((resolve) => setImmediate(resolve));
  expect(await failing(call(connection, 'echo', big))).toMatchObject({ code: 'ERR_QUEUE_FULL' });
  expect(await failing(connection.notify('notifications/message', big))).toMatchObject({ code: 'ERR_QUEUE_FULL' });
  await Promise.all(first);
  expect(await failing(call(connection, 'echo', big, { acquireTimeoutMs: 50 }))).toMatchObject({
    code: 'ERR_ACQUIRE_TIMEOUT',
  });
  await connection.close({ graceMs: 0 });
});

test('raw results keep every digit, and an error to a raw call is an error', async () => {
  const connection = await open(echoArgs());
  const bytes = (await call(connection, 'big-integer', {}, { raw: true })) as Uint8Array;
  expect(Buffer.from(bytes).toString()).toBe('{"n":12345678901234567890, "s":"\\"}"}');
  const failure = failing(call(connection, 'error', { code: -32000, message: 'no', data: [1] }, { raw: true }));
  expect(await failure).toMatchObject({ code: 'ERR_RPC', rpcCode: -32000, message: 'no', data: [1] });
});

test('progress comes with the caller’s own token, and resets the timeout only where asked', async () => {
  const connection = await open(echoArgs());
  const progress: Progress[] = [];
  const options = { onProgress: (each: Progress) => progress.push(each), timeoutMs: 400 };
  const slow = { name: 'sleep', arguments: { ms: 700, steps: 7 }, _meta: { progressToken: 'mine' } };
  const [reset, plain, capped] = await Promise.all([
    connection.request('tools/call', slow, { ...options, resetTimeoutOnProgress: true }),
    failing(connection.request('tools/call', slow, { timeoutMs: 400 })),
    failing(
      connection.request('tools/call', slow, { timeoutMs: 400, resetTimeoutOnProgress: true, maxTotalTimeoutMs: 500 }),
    ),
  ]);
  expect(reset).toMatchObject(said('slept'));
  expect(progress).toHaveLength(7);
  expect(progress[0]).toEqual({ progressToken: 'mine', progress: 1, total: 7 });
  expect(plain).toMatchObject({ code: 'ERR_REQUEST_TIMEOUT', timeoutMs: 400 });
  expect(capped).toMatchObject({ code: 'ERR_REQUEST_TIMEOUT', timeoutMs: 500 });
});

test('a server’s request is answered once, refused truly, and cancelled when it says so', async () => {
  const connection = await open(echoArgs());
  const ask = async (handler: RequestHandler | undefined, args = {}): Promise<unknown> => {
    connection.setRequestHandler(handler);
    return JSON.parse(await text(connection, 'ask', args));
  };
  expect(await ask(undefined)).toMatchObject({ error: { code: -32601 } });
  expect(await ask(async ({ params }) => ({ got: params?.['question'] }), { question: 1 })).toEqual({ got: 1 });
  const refusal = async () => Promise.reject(new RpcError('s', -1, 'declined', { by: 'user' }));
  expect(await ask(refusal)).toEqual({ error: { code: -1, message: 'declined', data: { by: 'user' } } });
  const unspeakable = await ask(async () => ({ n: 1n }));
  expect(unspeakable).toMatchObject({ error: { code: -32603, message: expect.stringContaining('JSON') } });
  const unspeakableData = await ask(async () => Promise.reject(new RpcError('s', -2, 'no', { n: 1n })));
  expect(unspeakableData).toEqual({ error: { code: -2, message: 'no' } });
  expect(await ask(undefined, { method: 'ping' })).toEqual({});
  let cancelled: AbortSignal | undefined;
  connection.setRequestHandler((_, { signal }) => {
    cancelled = signal;
    return new Promise(() => undefined);
  });
  expect(await text(connection, 'ask', { cancelAfterMs: 1 })).toBe('cancelled my question');
  expect(cancelled).toMatchObject({ aborted: true, reason: 'changed my mind' });
});

test('an aborted call is cancelled upstream and its late answer dropped', async () => {
  const connection = await open(echoArgs());
  const control = new AbortController();
  const reason = new Error('enough');
  const calling = failing(call(connection, 'late', {}, { signal: control.signal }));
  // The server has the call by the time it answers this one.
  await text(connection, 'echo', { text: 'a' });
  control.abort(reason);
  expect(await calling).toBe(reason);
  // So is its late answer here by then.
  expect(await text(connection, 'calls')).toContain('"notifications/cancelled":1');
  expect(connection.counters.lateReplies).toBe(1);
  const gone = failing(call(connection, 'echo', {}, { signal: AbortSignal.abort(reason) }));
  expect(await gone).toBe(reason);
});

test('params that are not JSON are an option error, and nothing is sent', async () => {
  const connection = await open(echoArgs());
  expect(await failing(call(connection, 'echo', { text: 1n }))).toMatchObject({ code: 'ERR_OPTION' });
  expect(connection.counters.calls).toBe(1);
});

test('a server that closes its output and lives on is dead', async () => {
  const script = `process.stdin.once('data', (line) => {
    const { id } = JSON.parse(line);
    const result = { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 'x', version: '1' } };
    process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, result }) + '\\n', () => require('node:fs').closeSync(1));
    process.stdin.resume().on('end', () => process.exit(0));
  });`;
  const connection = await open(['-e', script]);
  expect(await failing(call(connection, 'echo'))).toMatchObject({
    message: expect.stringContaining('it closed its output'),
  });
});

test('a server of an unknown protocol version is refused', async () => {
  const failure = await failing(open(echoArgs('--version=1999-01-01')));
  expect(failure).toMatchObject({ code: 'ERR_START_FAILED', message: expect.stringContaining('1999-01-01') });
});

test('close waits for what runs, then fails it with the truth; calls after it are refused', async () => {
  const connection = await open(echoArgs());
  const short = call(connection, 'sleep', { ms: 60 });
  const long = failing(call(connection, 'sleep', { ms: 60_000 }));
  const closed = connection.close({ graceMs: 300 });
  expect(await failing(call(connection, 'echo'))).toMatchObject({ code: 'ERR_CLOSED' });
  expect(await short).toMatchObject(said('slept'));
  expect(await long).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN', cause: { code: 'ERR_CLOSED' } });
  await closed;
});

test('a call whose time is over while its answer arrives is answered; when no more of it comes it has timed out', async () => {
  const clock = new FakeClock();
  const child = await ManagedProcess.spawn('s', {
    command: process.execPath,
    args: [fixture('hostile-server.mjs')],
  });
  const options = { ...OPTIONS, server: 's', clock, timeoutMs: 500 };
  const connection = closeAfter(await StdioConnection.open(child, options));
  let bytes = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  const begun = async (): Promise<{ readonly answer: Promise<unknown> }> => {
    const from = bytes;
    const js = `out('{"jsonrpc":"2.0","id":' + id + ',"result":{"a":"' + 'x'.repeat(100_000))`;
    const answer = call(connection, 'x', { js });
    answer.catch(() => undefined);
    await expect.poll(() => bytes - from).toBeGreaterThan(100_000);
    return { answer };
  };
  const more = async (js: string): Promise<void> => {
    const from = bytes;
    call(connection, 'x', { js }).catch(() => undefined);
    await expect.poll(() => bytes).toBeGreaterThan(from);
  };
  const first = await begun();
  await clock.advance(510);
  // Its time is over, and some of its answer had come.
  await more(`out('y')`);
  await clock.advance(100);
  await more(`out('"}}\\n')`);
  expect(await first.answer).toMatchObject({ a: expect.stringMatching(/^x+y$/) });

  const second = await begun();
  await clock.advance(510);
  await clock.advance(110);
  await expect(second.answer).rejects.toMatchObject({ code: 'ERR_REQUEST_TIMEOUT', timeoutMs: 500 });
});

test('a server that closes its output, then exits by itself: the failed start tells its code, though its exit is heard late', async () => {
  const clock = new FakeClock();
  const program = `process.on('SIGUSR2', () => process.exit(3)).stdin.resume(); require('node:fs').closeSync(1)`;
  const child = await ManagedProcess.spawn('s', { command: process.execPath, args: ['-e', program] });
  const ended = once(child.stdout, 'end');
  const opened = StdioConnection.open(child, { server: 's', ...OPTIONS, clock });
  const failed = expect(opened).rejects.toMatchObject({ exitCode: 3, message: expect.stringContaining('code 3') });
  await ended;
  // In one turn: it has exited, its exit was not told yet, and the wait for that is over.
  process.kill(child.pid, 'SIGUSR2');
  while (readProcess(child.pid)?.alive === true);
  clock.advanceSync(200);
  await failed;
});
