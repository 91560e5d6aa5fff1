import pino from 'pino';
import { expect, test } from 'vitest';
import {
  AcquireTimeoutError,
  BackingOffError,
  CircuitOpenError,
  ClosedError,
  ERROR_CODES,
  ForbiddenError,
  MessageTooLargeError,
  messageOf,
  NotSentError,
  OptionError,
  OutcomeUnknownError,
  PoolkitError,
  ProtocolError,
  QueueFullError,
  RateLimitedError,
  RequestTimeoutError,
  RpcError,
  ServerNotFoundError,
  ServerStoppedError,
  ShutdownTimeoutError,
  SignInError,
  StartError,
  StillAliveError,
  show,
  UnauthorizedError,
  UpstreamBusyError,
} from '../../src/core/errors.js';
import { errorFields } from '../../src/observe/logs/errorFields.js';

const detail = { live: 2, creating: 1, dying: 1, slots: 32, inUse: 31, waiting: 7 };

/** Class, code, whether the upstream acted, whether to call again, what a person reads. */
const PINNED: readonly (readonly [PoolkitError, string, string, string | undefined, boolean, string])[] = [
  [new ClosedError('pool a'), 'ClosedError', 'ERR_CLOSED', 'no', false, 'pool a is closed'],
  [
    new OptionError('maxQueue', -1, 'a whole number, 0 or more'),
    'OptionError',
    'ERR_OPTION',
    'no',
    false,
    'option maxQueue: got -1, expected a whole number, 0 or more',
  ],
  [
    new ServerNotFoundError('fs', ['fsa', 'fsb']),
    'ServerNotFoundError',
    'ERR_SERVER_NOT_FOUND',
    'no',
    false,
    'no server named "fs"; did you mean "fsa", "fsb"?',
  ],
  [
    new ServerStoppedError('fs'),
    'ServerStoppedError',
    'ERR_SERVER_STOPPED',
    'no',
    false,
    'server "fs" was stopped; start it again to use it',
  ],
  [
    new UnauthorizedError('fs', 'Bearer'),
    'UnauthorizedError',
    'ERR_UNAUTHORIZED',
    'no',
    false,
    'server "fs" wants other credentials (401)',
  ],
  [
    new SignInError('fs', 'no code came back'),
    'SignInError',
    'ERR_SIGN_IN',
    'no',
    false,
    'signing in to server "fs": no code came back',
  ],
  [
    new ForbiddenError('fs'),
    'ForbiddenError',
    'ERR_FORBIDDEN',
    'no',
    false,
    'server "fs" refuses these credentials (403)',
  ],
  [
    new QueueFullError('pool a', 100, 100),
    'QueueFullError',
    'ERR_QUEUE_FULL',
    'no',
    true,
    'pool a: 100 are waiting, 100 may',
  ],
  [
    new AcquireTimeoutError('pool a', 250, { ...detail, oldestLeaseAgeMs: 1234.5, lastCreateError: new Error('boom') }),
    'AcquireTimeoutError',
    'ERR_ACQUIRE_TIMEOUT',
    'no',
    true,
    'pool a: nothing free within 250 ms (31 of 32 slots in use, 2 live, 1 creating, 1 dying, 7 waiting, ' +
      'oldest lease 1235 ms, last create error: boom)',
  ],
  [
    new StartError('fs', 'it exited with 3', { exitCode: 3, stderr: ['one', 'no such folder'] }),
    'StartError',
    'ERR_START_FAILED',
    'no',
    true,
    'server "fs" did not start: it exited with 3 (stderr: no such folder)',
  ],
  [
    new NotSentError('fs', 'the pipe is closed'),
    'NotSentError',
    'ERR_NOT_SENT',
    'no',
    true,
    'server "fs": the call was not sent: the pipe is closed',
  ],
  [
    new BackingOffError('fs', 99.2, new Error('boom')),
    'BackingOffError',
    'ERR_BACKING_OFF',
    'no',
    true,
    'server "fs" is started again in 100 ms: boom',
  ],
  [
    new CircuitOpenError('fs', 99.2),
    'CircuitOpenError',
    'ERR_CIRCUIT_OPEN',
    'no',
    true,
    'server "fs" keeps failing; next try in 100 ms',
  ],
  [
    new RateLimitedError('limiter a', 'local', 12.1),
    'RateLimitedError',
    'ERR_RATE_LIMITED',
    'no',
    true,
    'limiter a: rate limited (local); try again in 13 ms',
  ],
  [
    new RequestTimeoutError('fs', 'tools/call', 60_000),
    'RequestTimeoutError',
    'ERR_REQUEST_TIMEOUT',
    'perhaps',
    false,
    'server "fs" did not answer tools/call within 60000 ms',
  ],
  [
    new OutcomeUnknownError('fs', 'tools/call', 'the process exited with 1', { status: 502 }),
    'OutcomeUnknownError',
    'ERR_OUTCOME_UNKNOWN',
    'perhaps',
    false,
    'server "fs": outcome of tools/call unknown: the process exited with 1',
  ],
  [
    new UpstreamBusyError('fs', 503, 2_000),
    'UpstreamBusyError',
    'ERR_UPSTREAM_BUSY',
    'perhaps',
    false,
    'server "fs" is busy (503); it asks to try again in 2000 ms',
  ],
  [new ProtocolError('fs', 'not JSON'), 'ProtocolError', 'ERR_PROTOCOL', 'perhaps', false, 'server "fs": not JSON'],
  [
    new MessageTooLargeError('fs', 'incoming', 11, 10),
    'MessageTooLargeError',
    'ERR_MESSAGE_TOO_LARGE',
    'perhaps',
    false,
    'server "fs": incoming message of 11 bytes, 10 allowed',
  ],
  [new RpcError('fs', -32602, 'Invalid params', { a: 1 }), 'RpcError', 'ERR_RPC', 'answered', false, 'Invalid params'],
  [
    new ShutdownTimeoutError('job a', 5_000),
    'ShutdownTimeoutError',
    'ERR_SHUTDOWN_TIMEOUT',
    undefined,
    false,
    'job a was still running after 5000 ms and was abandoned',
  ],
  [
    new StillAliveError(42, 'D (disk sleep)'),
    'StillAliveError',
    'ERR_STILL_ALIVE',
    undefined,
    false,
    'process 42 is still alive after SIGKILL, in state D (disk sleep)',
  ],
];

test.each(PINNED)('%s is what it says', (error, name, code, acted, retryable, message) => {
  expect(error).toBeInstanceOf(PoolkitError);
  expect(error).toBeInstanceOf(Error);
  expect([error.name, error.constructor.name, error.code]).toEqual([name, name, code]);
  expect([error.acted, error.retryable]).toEqual([acted, retryable]);
  expect(error.message).toBe(message);
});

test('a refusal says what is to be done, where that is known', () => {
  const { message, challenge } = new UnauthorizedError('fs', { why: 'sign in first', challenge: 'Bearer' });
  expect([message, challenge]).toEqual(['sign in first', 'Bearer']);
});

test('the codes are these and no others, each with a class', () => {
  expect(Object.keys(ERROR_CODES)).toEqual(PINNED.map(([, , code]) => code));
  expect(Object.isFrozen(ERROR_CODES)).toBe(true);
});

test('only what provably never ran may be called again', () => {
  for (const { acted, retryable } of Object.values(ERROR_CODES)) if (retryable) expect(acted).toBe('no');
});

test('an outgoing message that is too large was not acted on', () => {
  const error = new MessageTooLargeError('fs', 'outgoing', 11, 10);
  expect([error.acted, error.retryable]).toEqual(['no', false]);
});

test('the facts are in fields', () => {
  expect(new QueueFullError('q', 3, 3)).toMatchObject({ what: 'q', waiting: 3, max: 3 });
  expect(new AcquireTimeoutError('p', 5, detail)).toMatchObject({ timeoutMs: 5, detail });
  expect(new StartError('s', 'why', { exitCode: null, signal: 'SIGKILL' })).toMatchObject({
    exitCode: null,
    signal: 'SIGKILL',
    stderr: [],
  });
  expect(new RateLimitedError('l', 'upstream', undefined)).toMatchObject({
    source: 'upstream',
    retryAfterMs: undefined,
    message: 'l: rate limited (upstream)',
  });
  expect(new RpcError('s', -1, 'm', [1])).toMatchObject({ server: 's', rpcCode: -1, data: [1] });
  expect(new UnauthorizedError('s', 'Bearer x').challenge).toBe('Bearer x');
  expect(new OutcomeUnknownError('s', 'm', 'why').status).toBeUndefined();
  expect(new UpstreamBusyError('s', 503).message).toBe('server "s" is busy (503)');
  expect(new ServerNotFoundError('s').message).toBe('no server named "s"');
  expect(new StillAliveError(7, 'Z (zombie)', 'server fs').message).toMatch(/^server fs 7 is/);
});

test('a cause is kept, and there is none where none was given', () => {
  const cause = new Error('why');
  const caused = [
    new ClosedError('a', cause),
    new OptionError('a', 1, 'b', cause),
    new UnauthorizedError('a', undefined, cause),
    new ForbiddenError('a', undefined, cause),
    new SignInError('a', 'why', cause),
    new StartError('a', 'b', {}, cause),
    new NotSentError('a', 'b', cause),
    new BackingOffError('a', 1, cause),
    new CircuitOpenError('a', 1, cause),
    new RateLimitedError('a', 'local', 1, cause),
    new OutcomeUnknownError('a', 'b', 'c', { cause }),
    new UpstreamBusyError('a', 503, 1, cause),
    new ProtocolError('a', 'b', cause),
    new AcquireTimeoutError('a', 1, { ...detail, lastCreateError: cause }),
  ];
  for (const error of caused) expect(error.cause, error.name).toBe(cause);
  expect('cause' in new ClosedError('a')).toBe(false);
});

test.each([
  ['text', '"text"'],
  ['two\nlines', '"two\\nlines"'],
  ['x'.repeat(200), `"${'x'.repeat(77)}..."`],
  [Number.NaN, 'NaN'],
  [12n, '12n'],
  [undefined, 'undefined'],
  [null, 'null'],
  [Symbol('s'), 'Symbol(s)'],
  [[1, 2], 'an array of 2'],
  [{ password: 'secret' }, 'an object'],
  [Object.create(null), 'an object'],
  [
    function named() {
      return 1;
    },
    'function named',
  ],
  [() => undefined, 'function (anonymous)'],
  [Object.defineProperty(() => undefined, 'name', { value: Symbol('odd') }), 'function (anonymous)'],
])('show puts a value on one short line: %o', (value, shown) => {
  expect(show(value)).toBe(shown);
});

test.each([
  [new Error('boom'), 'boom'],
  ['text', '"text"'],
  [undefined, 'undefined'],
  [new AggregateError([new Error('a'), 'b']), 'a; "b"'],
  [new AggregateError([new Error('a')], 'both failed'), 'both failed'],
])('messageOf finds words in anything thrown: %o', (thrown, message) => {
  expect(messageOf(thrown)).toBe(message);
});

const trap = (): never => {
  throw new Error('trap');
};
const nasty = new Proxy({}, { get: trap, getPrototypeOf: trap });
const { proxy: revoked, revoke } = Proxy.revocable({}, {});
revoke();
const { proxy: revokedFunction, revoke: revokeFunction } = Proxy.revocable(() => undefined, {});
revokeFunction();
const ofItself = new AggregateError([]);
ofItself.errors.push(ofItself);

test.each([
  ['a proxy with traps', nasty, 'something that cannot be looked at'],
  ['a revoked proxy', revoked, 'something that cannot be looked at'],
  ['a revoked function', revokedFunction, 'something that cannot be looked at'],
  [
    'an error whose message throws',
    Object.defineProperty(new Error(), 'message', { get: trap }),
    'something that cannot be looked at',
  ],
  ['an error whose message is none', Object.assign(new Error(), { message: 5 }), '5'],
  ['an error of such', new AggregateError([nasty, new Error('b')]), 'something that cannot be looked at; b'],
  ['an error of itself', ofItself, 'something that cannot be looked at'],
])('messageOf, show and the fields of a log throw for nothing: %s', (_, value, message) => {
  expect(messageOf(value)).toBe(message);
  expect(typeof show(value)).toBe('string');
  expect(() => JSON.stringify(errorFields(value))).not.toThrow();
});

/** The one line that a real pino writes for `fields`. */
function logged(fields: object): { error: Record<string, unknown> } {
  let line = '';
  pino(
    {},
    {
      write: (text: string) => {
        line += text;
      },
    },
  ).error(fields, 'failed');
  return JSON.parse(line) as { error: Record<string, unknown> };
}

test('a plain { error } in pino keeps name, message, code, fields and cause', () => {
  const cause = Object.assign(new Error('spawn x ENOENT'), { code: 'ENOENT' });
  const error = new StartError(
    'files',
    'the command was not found',
    { exitCode: 127, stderr: ['sh: x: not found'] },
    cause,
  );
  expect(logged({ error }).error).toEqual({
    name: 'StartError',
    message: error.message,
    code: 'ERR_START_FAILED',
    retryable: true,
    acted: 'no',
    server: 'files',
    exitCode: 127,
    stderr: ['sh: x: not found'],
    cause: { name: 'Error', message: 'spawn x ENOENT', code: 'ENOENT' },
  });
});

test('an error prints whatever it carries: cycles, big integers, getters that throw, great lists', () => {
  const cycle: Record<string, unknown> = { big: 12n, run: () => undefined };
  cycle['self'] = cycle;
  const value = { cycle, list: Array.from({ length: 10_000 }, (_, index) => index) };
  const trap = Object.defineProperty({}, 'x', {
    enumerable: true,
    get: () => {
      throw new Error('getter');
    },
  });
  const error = new OptionError('o', value, 'a number', trap);
  const text = JSON.stringify(error);
  expect(text.length).toBeLessThan(2_000);
  expect(JSON.parse(text)).toMatchObject({ message: error.message, code: 'ERR_OPTION', cause: 'an object' });
  expect(logged({ error }).error['message']).toBe(error.message);
});

test('the message of anything thrown is a text, also of what cannot be looked at', () => {
  const trap = (): never => {
    throw new Error('trap');
  };
  const { proxy, revoke } = Proxy.revocable([], {});
  revoke();
  const odd = Object.defineProperty(new Error('x'), 'message', { get: trap });
  for (const thrown of [new Proxy({}, { getPrototypeOf: trap }), proxy, odd]) {
    expect(messageOf(thrown)).toBe('something that cannot be looked at');
    expect(messageOf(new AggregateError([thrown, new Error('b')], ''))).toBe('something that cannot be looked at; b');
  }
  expect(messageOf(Object.assign(new Error('x'), { message: 5 }))).toBe('5');
});
