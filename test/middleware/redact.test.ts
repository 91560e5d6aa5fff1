import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { statusError } from '../../src/connection/net/body/statusError.js';
import {
  AcquireTimeoutError,
  NotSentError,
  OptionError,
  OutcomeUnknownError,
  type PoolkitError,
  ProtocolError,
  RpcError,
  StartError,
} from '../../src/core/errors.js';
import { redact } from '../../src/middleware/ready/redact.js';
import { countTurns } from '../support/countTurns.js';
import { bytes, through } from '../support/throughMiddleware.js';

test('redact replaces in strings alone, to the digit in all else, in linear time whatever the text', async () => {
  const hidden = through(redact({ patterns: ['secret-\\d+', '(a+)+$'], replacement: 'X' }), () =>
    bytes(
      '{"secret-1":"a secret-1 \\u0073ecret-2","n":12345678901234567890,"list":["secret-3",1.0],"q":"\\"secret-4\\""}',
    ),
  );
  expect((await hidden.call('any')).text).toBe(
    '{"secret-1":"a X X","n":12345678901234567890,"list":["X",1.0],"q":"\\"X\\""}',
  );
  // A backtracking engine takes time that doubles with each letter.
  const hostile = `${'a'.repeat(50_000)}!`;
  const same = through(redact({ patterns: ['(a+)+$'] }), (params) => ({ echoed: params?.['text'] }));
  expect((await same.call('any', { text: hostile })).value).toEqual({ echoed: hostile });
  expect(() => redact({ patterns: ['(?=x)'] })).toThrow(OptionError);
  expect(() => redact({ patterns: [] })).toThrow(OptionError);
});

test('redact looks through many strings in turns of the event loop, and through long ones whatever is escaped in them', async () => {
  const strings = Array.from({ length: 60_000 }, (_, at) => (at % 20_000 === 7 ? 'a secret-1' : `plain ${at}`));
  const long = `\\"${'\\n'.repeat(2_000_000)}`;
  const hidden = through(redact({ patterns: ['secret-\\d+', '(?i)pass(\\w)word'], replacement: 'X' }), (params) =>
    params?.['strings'] === undefined ? bytes(`{"s":${JSON.stringify(strings)},"l":"${long}"}`) : params,
  );
  let turns = 0;
  const counted = (): void => {
    turns++;
    immediate = setImmediate(counted);
  };
  let immediate = setImmediate(counted);
  const { text } = await hidden.call('any');
  const told = (await hidden.call('any', { strings })).value;
  clearImmediate(immediate);
  expect(text).toBe(`{"s":${JSON.stringify(strings).replaceAll('secret-1', 'X')},"l":"${long}"}`);
  expect(told).toEqual({ strings: strings.map((each) => each.replace('secret-1', 'X')) });
  expect(turns).toBeGreaterThan(3);
});

test('redact goes through values in turns of the event loop, too, however deep they are, and takes an array for no _meta', async () => {
  const same = through(redact({ patterns: ['secret'] }), (params) => params);
  using turns = countTurns();
  const read = new Set<number>();
  const slow = Array.from({ length: 20 }, () => ({
    get text() {
      read.add(turns.count);
      for (const endMs = performance.now() + 1; performance.now() < endMs; );
      return 'plain';
    },
  }));
  await same.call('any', { slow });
  expect(read.size).toBeGreaterThan(1);
  let deep: unknown = 'plain';
  for (let at = 0; at < 20_000; at++) deep = [deep];
  const given = { deep, _meta: ['progressToken'] };
  expect((await same.call('any', given)).value).toBe(given);
});

test('redact is done with params that hold themselves, too, which are no JSON', async () => {
  const same = through(redact({ patterns: ['secret'], results: false }), () => ({}));
  const params: Record<string, unknown> = { text: 'plain' };
  params['own'] = [params];
  expect((await same.call('any', params)).value).toEqual({});
});

test('redact looks through what a server answers with as an error: message, data, and its text to the digit', async () => {
  const failing = (error: unknown) =>
    through(redact({ patterns: ['secret-\\d+'], replacement: 'X' }), () => {
      throw error;
    }).call('any');
  const text = '{"n":12345678901234567890,"why":"secret-2"}';
  await expect(
    failing(new RpcError('s', -32000, 'no secret-1', { why: 'secret-2', n: 1 }, text)),
  ).rejects.toMatchObject({
    rpcCode: -32000,
    message: 'no X',
    data: { why: 'X', n: 1 },
    dataText: '{"n":12345678901234567890,"why":"X"}',
  });
  const plain = new RpcError('s', -32000, 'nothing to hide');
  await expect(failing(plain)).rejects.toBe(plain);
});

test('redact looks through what errors of ours quote of a server: message, fields and causes; class and code stay', async () => {
  const S = 'secret-1';
  const hidden = async (error: PoolkitError): Promise<PoolkitError> => {
    const failed = through(redact({ patterns: ['secret-\\d+'], replacement: 'X' }), () => {
      throw error;
    }).call('any');
    const told = (await failed.catch((thrown: unknown) => thrown)) as PoolkitError;
    expect(told.constructor).toBe(error.constructor);
    expect([told.name, told.code, told.retryable, told.acted]).toEqual([
      error.name,
      error.code,
      error.retryable,
      error.acted,
    ]);
    expect(inspect(told, { depth: 9, showHidden: true })).not.toMatch(/ecret-1/);
    return told;
  };
  const status = (status: number, body = `no: ${S}`, headers: string[] = []): PoolkitError =>
    statusError({
      ...{ server: 's', method: 'tools/call', status, wallNowMs: 0 },
      ...{ body: Buffer.from(body), headers: headers.map((each) => Buffer.from(each)) },
    });
  for (const each of [400, 404, 408, 413, 422]) {
    expect(await hidden(status(each))).toMatchObject({ message: expect.stringContaining('no: X'), status: each });
  }
  expect(await hidden(status(500))).toBeInstanceOf(OutcomeUnknownError);
  expect((await hidden(status(502, '{"why":"\\u0073ecret-1\\/\\"secret-1"}'))).message).toContain('"why":"X/"X"');
  await hidden(status(404, 'none', ['content-type', `x/${S}`]));
  expect(await hidden(status(401, '', ['www-authenticate', `Bearer realm="${S}"`]))).toMatchObject({
    challenge: 'Bearer realm="X"',
  });
  const cause = new AggregateError([new Error(S)], 'several', { cause: new Error(`at ${S}`) });
  const start = new StartError('s', 'it ended', { stderr: ['line', S], stdout: S, exitCode: 1 }, cause);
  expect(await hidden(start)).toMatchObject({ exitCode: 1, stderr: ['line', 'X'], stdout: 'X' });
  const detail = { live: 0, creating: 0, dying: 0, slots: 0, inUse: 0, waiting: 1, lastCreateError: start };
  expect(await hidden(new AcquireTimeoutError('s', 5, detail))).toMatchObject({ detail: { live: 0, waiting: 1 } });
  expect(await hidden(new NotSentError('s', 'gone', new ProtocolError('s', S)))).toMatchObject({
    cause: expect.any(ProtocolError),
  });
  const plain = status(404, 'nothing to hide');
  expect(await hidden(plain)).toBe(plain);
});

test('redact looks through _meta, but for what the protocol goes by in it', async () => {
  const kept = {
    progressToken: 'secret-1',
    traceparent: 'secret-1',
    tracestate: 'secret-1',
    'io.modelcontextprotocol/related-task': { taskId: 'secret-1' },
    'io.modelcontextprotocol/subscriptionId': 'secret-1',
  };
  const given = { plain: 1, baggage: 'k=secret-1', 'x/y': { deep: ['secret-2'] } };
  const told = { plain: 1, baggage: 'k=X', 'x/y': { deep: ['X'] } };
  const { call } = through(redact({ patterns: ['secret-\\d+'], replacement: 'X', results: false }), (params) => ({
    params,
  }));
  const value = async (params: Record<string, unknown>): Promise<unknown> => (await call('any', params)).value;
  expect(await value({ text: 'a secret-1', _meta: { ...given, ...kept } })).toEqual({
    params: { text: 'a X', _meta: { ...told, ...kept } },
  });
  expect(await value({ _meta: given })).toEqual({ params: { _meta: told } });
  expect(await value({ _meta: 'secret-1' })).toEqual({ params: { _meta: 'X' } });
  const clean = { text: 'none', _meta: kept };
  expect(((await value(clean)) as { params: unknown }).params).toBe(clean);
});
