import { setImmediate as turn } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { type Logger, silentLogger } from '../../../src/core/logger.js';
import { TURN_DEFAULTS } from '../../../src/core/time/turns.js';
import { fixture } from '../../support/servers.js';
import { call, open } from '../../support/stdioConnection.js';

const hostile = (before?: string): string[] => [
  fixture('hostile-server.mjs'),
  ...(before === undefined ? [] : [before]),
];
const ODD_IDS: readonly unknown[] = [
  { valueOf: 1, toString: 1 },
  ['1'],
  [1],
  {},
  true,
  '1.5',
  '-1',
  '01',
  ' 1',
  '__proto__',
  'constructor',
  1.5,
  -1,
  1e300,
];

test('an id, progress token, subscription or request id that is none is garbage or passed over, whatever it is', async () => {
  const connection = await open(hostile());
  const lines = ODD_IDS.flatMap((id) => [
    { id, result: {} },
    { id, error: { code: 1, message: 'no' } },
    { method: 'notifications/progress', params: { progressToken: id, progress: 1 } },
    { method: 'notifications/cancelled', params: { requestId: id } },
    { method: 'notifications/message', params: { _meta: { 'io.modelcontextprotocol/subscriptionId': id } } },
  ]);
  expect(
    await call(connection, 'x', { js: `for (const each of ${JSON.stringify(lines)}) send(each); reply({ a: 1 })` }),
  ).toEqual({
    a: 1,
  });
  expect(connection.counters.garbage).toBe(ODD_IDS.length * 2);
});

test('params, methods and messages of a wrong shape are garbage', async () => {
  const connection = await open(hostile());
  const lines = [
    { method: 'notifications/message', params: 5 },
    { method: 'notifications/message', params: [1] },
    { id: {}, method: 'ping' },
    { id: null, method: 'ping' },
    { method: { toString: 1 } },
    5,
    null,
    [null, [1], { id: { valueOf: 1 }, result: 1 }],
  ];
  const js = `for (const each of ${JSON.stringify(lines)}) out(JSON.stringify(each) + '\\n');
    send({ method: 'notifications/message', params: null });
    for (const method of ['constructor', '__proto__', 'toString', 'hasOwnProperty']) send({ method });
    reply({ a: 1 })`;
  expect(await call(connection, 'x', { js })).toEqual({ a: 1 });
  // Those four have no id, and are no notifications.
  expect(connection.counters.garbage).toBe(10 + 4);
});

test('params that are an empty array, as PHP writes an empty object, are one', async () => {
  const notices: object[] = [];
  const connection = await open(hostile());
  connection.onNotification((notice) => notices.push(notice));
  const js = `send({ method: 'notifications/tools/list_changed', params: [] });
    globalThis.onAnswer = ({ result }) => reply({ result });
    send({ id: 'theirs', method: 'ping', params: [] })`;
  expect(await call(connection, 'x', { js })).toEqual({ result: {} });
  expect(notices).toEqual([{ method: 'notifications/tools/list_changed', params: {} }]);
  expect(connection.counters.garbage).toBe(0);
});

test('an id that comes back as the string of our number is taken, for parsed and raw answers', async () => {
  const connection = await open(hostile());
  const js = 'send({ id: String(id), result: { big: 1 } })';
  expect(await call(connection, 'x', { js })).toEqual({ big: 1 });
  const raw = (await call(connection, 'x', { js }, { raw: true })) as Uint8Array;
  expect(Buffer.from(raw).toString()).toBe('{"big":1}');
  expect(connection.counters).toMatchObject({ garbage: 0, lateReplies: 0 });
});

test('a byte order mark and terminal sequences around a message are passed over', async () => {
  const connection = await open(hostile("out('\\uFEFF')"));
  for (const [before, after] of [
    ['\u001b]0;a title\u0007', ''],
    ['\u001b]0;a title\u001b\\', ''],
    ['\u001b[2J\u001b[1;31m', '\u001b[0m'],
    ['\u0007 \t', ' \u001b[K'],
  ]) {
    const js = `out(${JSON.stringify(before)}); out(JSON.stringify({ id, result: { a: '}' } }) + ${JSON.stringify(after)} + '\\n')`;
    expect(await call(connection, 'x', { js })).toEqual({ a: '}' });
  }
  expect(connection.counters.garbage).toBe(0);
});

test('what a callback of a call, a listener or the logger throws disturbs neither the call nor the connection', async () => {
  const throws = (): never => {
    throw new Error('from a user');
  };
  const logger = Object.fromEntries(Object.keys(silentLogger).map((level) => [level, throws])) as unknown as Logger;
  const connection = await open(hostile(), { logger, onAnswer: throws });
  connection.onNotification(throws);
  connection.onClose(throws);
  const closed = vi.fn();
  connection.onClose(closed);
  connection.setRequestHandler(throws);
  const js = `send({ method: 'notifications/progress', params: { progressToken: id, progress: 1 } });
    send({ method: 'notifications/message', params: {} }); send({ id: 's', method: 'roots/list' }); out('{]\\n'); reply({ a: 1 })`;
  expect(
    await call(connection, 'x', { js }, { onProgress: throws, onNotification: throws, onRequest: throws }),
  ).toEqual({
    a: 1,
  });
  expect(connection.counters.callbackErrors).toBeGreaterThan(1);
  expect(connection.alive).toBe(true);
  await connection.close();
  expect(closed).toHaveBeenCalledOnce();
});

test('a request that a handler answers with an odd throw still gets an answer', async () => {
  const connection = await open(hostile());
  connection.setRequestHandler(() => {
    throw Object.defineProperty(new Error(), 'message', {
      get: () => {
        throw new Error('worse');
      },
    });
  });
  const js = "globalThis.onAnswer = ({ error }) => reply(error); send({ id: 's1', method: 'roots/list' })";
  expect(await call(connection, 'x', { js })).toMatchObject({ code: -32603 });
});

test('a flood of lines is read in turns: timers and other work of the loop go on beside it', async () => {
  const connection = await open(hostile());
  const lines = 5_000;
  let most = 0;
  let before = 0;
  let done = false;
  const look = (): void => {
    const { garbage } = connection.counters;
    most = Math.max(most, garbage - before);
    before = garbage;
    if (!done) setImmediate(look);
  };
  setImmediate(look);
  await call(connection, 'x', { js: `out('{]\\n'.repeat(${lines})); reply()` });
  done = true;
  // At what came in the last turn, too.
  look();
  expect(connection.counters.garbage).toBe(lines);
  // A turn's budget, and what is left of the one before.
  expect(most).toBeLessThanOrEqual(2 * TURN_DEFAULTS.maxMessages);
});

test('log lines of one kind that a server causes are limited, and counted', async () => {
  const debug = vi.fn();
  const connection = await open(hostile(), { logger: { ...silentLogger, debug } });
  await call(connection, 'x', { js: "out('no json\\n'.repeat(5000)); reply()" });
  expect(connection.counters.garbage).toBe(5_000);
  expect(debug.mock.calls.length).toBeGreaterThan(0);
  expect(debug.mock.calls.length).toBeLessThanOrEqual(20);
});

test('a result that is not JSON fails its call at once, raw or not, and only that call', async () => {
  const connection = await open(hostile());
  for (const raw of [false, true]) {
    for (const result of ['{]', 'NaN', '"\u0001"', '{} {}', '{"a":1,}']) {
      const js = `out('{"jsonrpc":"2.0","id":' + id + ',"result":' + ${JSON.stringify(result)} + '}\\n')`;
      const other = call(connection, 'x', { js: 'setTimeout(reply, 20, { a: 1 })' });
      await expect(call(connection, 'x', { js }, { raw })).rejects.toMatchObject({ code: 'ERR_PROTOCOL' });
      expect(await other).toEqual({ a: 1 });
    }
  }
});

test('a server that asks without end and reads nothing loses its connection, with the reason', async () => {
  const connection = await open(hostile());
  const js = `process.stdin.pause(); let i = 0;
    const more = () => { for (let n = 0; n < 500; n++) send({ id: 'p' + i++ + 'x'.repeat(500), method: 'ping' }); setImmediate(more) };
    more()`;
  const died = new Promise<string>((resolve) => connection.onClose(({ why }) => resolve(why)));
  const failed = expect(call(connection, 'x', { js })).rejects.toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' });
  expect(await died).toContain('it does not read its input');
  await failed;
});

test('a flood of list changes becomes a few, and the last is never lost', async () => {
  const connection = await open(hostile());
  const seen: string[] = [];
  connection.onNotification(({ method }) => void seen.push(method));
  const js = `for (let i = 0; i < 5000; i++) send({ method: 'notifications/tools/list_changed' });
    send({ method: 'notifications/message', params: {} }); reply()`;
  await call(connection, 'x', { js });
  expect(seen.at(-1)).toBe('notifications/message');
  await expect.poll(() => seen.at(-1)).toBe('notifications/tools/list_changed');
  expect(seen.length).toBeLessThan(200);
});

const LARGE = { maxMessageBytes: 64 * 1024 * 1024 };

/** Texts that are quickly written and take long to parse. */
const BOMBS: readonly (readonly [string, string])[] = [
  ['arrays', `'[],'.repeat(2_000_000)`],
  ['objects each of a shape of its own', `Array.from({ length: 80_000 }, (_, at) => '{"k' + at + '":1},').join('')`],
];

test.each(BOMBS)('a message of too many %s is dropped unread, and the connection goes on', async (_, js) => {
  const warn = vi.fn();
  const connection = await open(hostile(), { ...LARGE, logger: { ...silentLogger, warn } });
  const line = (head: string): string => `out('{"jsonrpc":"2.0",${head}:{"x":[' + ${js} + '0]}}\\n');`;
  const notice = line('"method":"notifications/message","params"');
  const asked = line('"id":7,"method":"sampling/createMessage","params"');
  expect(await call(connection, 'x', { js: `${notice}${asked}reply({ a: 1 })` })).toEqual({ a: 1 });
  expect(await call(connection, 'x', { js: `${notice}reply({ a: 2 })` }, { raw: true })).toEqual(
    Buffer.from('{"a":2}'),
  );
  expect(connection.counters.garbage).toBe(3);
  expect(warn).toHaveBeenCalledWith(
    expect.anything(),
    'a message of the server was dropped: it has too many values to be parsed at once',
  );
});

test('an answer of too many values fails its own call, and comes whole to one that asks for bytes', async () => {
  const connection = await open(hostile(), LARGE);
  const js = `out('{"jsonrpc":"2.0","id":' + id + ',"result":{"x":[' + '[],'.repeat(1_000_000) + '0]}}\\n')`;
  const failed = call(connection, 'x', { js });
  await expect(failed).rejects.toMatchObject({ code: 'ERR_PROTOCOL' });
  await expect(failed).rejects.toThrow('has too many values to be parsed at once');
  const raw = (await call(connection, 'x', { js }, { raw: true })) as Uint8Array;
  expect(raw.length).toBeGreaterThan(3_000_000);
  expect(await call(connection, 'x', { js: 'reply({ a: 1 })' })).toEqual({ a: 1 });
});

test.each([['xx'], ['é'], [String.raw`\\n`]])(
  'one long string of %s that was not asked for is dropped, and as an answer it comes whole',
  async (char) => {
    const warn = vi.fn();
    const connection = await open(hostile(), { ...LARGE, logger: { ...silentLogger, warn } });
    const seen: string[] = [];
    connection.onNotification(({ method }) => seen.push(method));
    const long = `'${char}'.repeat(4_200_000)`;
    const js = `out('{"jsonrpc":"2.0","method":"notifications/x","params":{"x":"' + ${long} + '"}}\\n');
      out('{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage","params":{"x":"' + ${long} + '"}}\\n');
      out('{"jsonrpc":"2.0","id":' + id + ',"result":{"x":"' + ${long} + '"}}\\n')`;
    const { x } = (await call(connection, 'x', { js })) as { x: string };
    expect(x.length).toBeGreaterThan(4_000_000);
    expect(seen).toEqual([]);
    expect(connection.counters.garbage).toBe(2);
    expect(warn).toHaveBeenCalledTimes(2);
    expect(warn.mock.lastCall?.[1]).toMatch(/it has \d+ bytes, and is not known for a result: 8388608 may be/);
  },
);

test('an answer so large that nothing says whose it is fails its call', async () => {
  const connection = await open(hostile(), LARGE);
  const js = `out('{"x":0,"jsonrpc":"2.0","id":' + id + ',"result":{"x":"' + 'x'.repeat(8_400_000) + '"}}\\n')`;
  await expect(call(connection, 'x', { js })).rejects.toMatchObject({ code: 'ERR_MESSAGE_TOO_LARGE' });
  expect(await call(connection, 'x', { js: 'reply({ a: 1 })' })).toEqual({ a: 1 });
});

test('what is not small is made into text once', async () => {
  const connection = await open(hostile(), LARGE);
  const seen: unknown[] = [];
  connection.onNotification(({ params }) => seen.push(params?.['x']));
  const made = vi.spyOn(Buffer.prototype, 'toString');
  try {
    const js = "send({ method: 'notifications/x', params: { x: 'x'.repeat(100_000) } }); reply({ a: 1 })";
    expect(await call(connection, 'x', { js }, { raw: true })).toBeInstanceOf(Uint8Array);
    const large = made.mock.contexts.filter(
      (each, at) => each.length > 90_000 && made.mock.calls[at]?.[2] === undefined,
    );
    expect(large).toHaveLength(1);
  } finally {
    made.mockRestore();
  }
  expect(seen).toEqual(['x'.repeat(100_000)]);
});

test('what a server says of itself is bounded: it does not start', async () => {
  const much = `globalThis.JSON.stringify = ((stringify) => (value) => { if (value?.result?.serverInfo) value.result.instructions = 'x'.repeat(1_100_000); return stringify(value); })(JSON.stringify)`;
  await expect(open(hostile(much), LARGE)).rejects.toThrow(/it describes itself in 11\d+ bytes, 1048576 allowed/);
});

test('a request under an id that is being handled is refused, and the first goes on', async () => {
  const connection = await open(hostile());
  const asked: unknown[] = [];
  let answer = (_: object): void => undefined;
  connection.setRequestHandler((request) => {
    asked.push(request.params);
    return new Promise((resolve) => {
      answer = resolve;
    });
  });
  const js = `globalThis.onAnswer = (m) => { (globalThis.answers ??= []).push(m); if (globalThis.answers.length === 2) reply({ answers: globalThis.answers }) };
    for (const n of [1, 2]) send({ id: 7, method: 'roots/list', params: { n } })`;
  const call_ = call(connection, 'x', { js });
  await vi.waitFor(() => expect(asked).toEqual([{ n: 1 }]));
  answer({ roots: [] });
  expect(await call_).toMatchObject({
    answers: [
      { id: 7, error: { code: -32_600, message: 'a request of this id is being handled' } },
      { id: 7, result: { roots: [] } },
    ],
  });
});

test('a request whose id is long is refused', async () => {
  const connection = await open(hostile());
  connection.setRequestHandler(() => new Promise(() => undefined));
  const js = `globalThis.onAnswer = (m) => reply(m.error); send({ id: 'x'.repeat(1_025), method: 'roots/list' })`;
  expect(await call(connection, 'x', { js })).toMatchObject({ code: -32_600 });
});

test('what a server asks is bounded in bytes while it is being handled, and there is room again after it', async () => {
  const connection = await open(hostile(), LARGE);
  const answers: (() => void)[] = [];
  connection.setRequestHandler(() => new Promise((resolve) => answers.push(() => resolve({ roots: [] }))));
  // In memory a number takes 64 bytes: three of these are over 32 MiB.
  const ask = (id: string, count: number): string =>
    `send({ id: '${id}', method: 'roots/list', params: { x: Array(${count}).fill(0) } });`;
  const js = `globalThis.onAnswer = (m) => { (globalThis.answers ??= {})[m.id] = m.error?.code ?? 'ok' };
    ${ask('a', 200_000)} ${ask('b', 200_000)} ${ask('c', 200_000)} reply({})`;
  await call(connection, 'x', { js });
  await vi.waitFor(() => expect(answers).toHaveLength(2));
  const told = () => call(connection, 'x', { js: 'reply(globalThis.answers ?? {})' });
  expect(await told()).toEqual({ c: -32_603 });
  for (const answer of answers.splice(0)) answer();
  await vi.waitFor(async () => expect(await told()).toEqual({ a: 'ok', b: 'ok', c: -32_603 }));
  await call(connection, 'x', { js: `${ask('d', 400_000)} reply({})` });
  await vi.waitFor(() => expect(answers).toHaveLength(1));
  answers[0]?.();
});

test('a notification or request nested deeper than anything could look into is dropped or refused, an answer comes', async () => {
  const connection = await open(hostile());
  const heard: unknown[] = [];
  connection.onNotification((notice) => void heard.push(notice));
  connection.setRequestHandler(async (request) => {
    heard.push(request);
    return {};
  });
  const js = (levels: number): string => `const deep = '['.repeat(${levels}) + ']'.repeat(${levels});
    globalThis.onAnswer = (m) => reply({ answer: m, text: deep.length });
    out('{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":' + deep + '}}\\n');
    out('{"jsonrpc":"2.0","id":"q","method":"roots/list","params":{"x":"[[","y":' + deep + '}}\\n');`;
  expect(await call(connection, 'x', { js: js(509) })).toMatchObject({ answer: { id: 'q', result: {} } });
  expect(heard).toHaveLength(2);
  const message = 'it is nested deeper than 512 levels';
  for (const levels of [511, 20_000]) {
    const answer = { id: 'q', error: { code: -32_600, message } };
    expect(await call(connection, 'x', { js: js(levels) })).toMatchObject({ answer });
  }
  expect(heard).toHaveLength(2);
  expect(connection.counters.garbage).toBe(4);
  const result = `out('{"jsonrpc":"2.0","id":' + id + ',"result":{"x":' + '['.repeat(20_000) + ']'.repeat(20_000) + '}}\\n')`;
  expect(await call(connection, 'x', { js: result })).toHaveProperty('x');
});

/** Half an answer, and what a server writes behind it; `LONG` stands for 2 MB. */
const HALF_LINES = [
  ['{"jsonrpc":"2.0","id":ID,"result":{"a":"b', '{"result":{},"jsonrpc":"2.0","id":ID}'],
  ['{"result":{"a":[1,', '{"jsonrpc": "2.0", "id": ID, "result": {"b": [1, 2, {"method": "GET"}, "LONG"]}}'],
  ['{"json', '{"id":ID,"jsonrpc":"2.0","error":{"code":1,"message":"no"}}'],
  ['{"jsonrpc":"2.0","id":ID,"resu', '{"result":{"a":"LONG"},"jsonrpc":"2.0","id":"ID"}{"jsonrpc":"2.0","method":"x"}'],
  ['{"jsonrpc":"2.0","id":ID,"result":{"a":"LONG', '{"jsonrpc":"2.0","id":ID,"result":{"b":"c"}}'],
  ['{"jsonrpc":"2.0","id":ID,"result":{"a":"LONG', '{"result":{"b":"LONG"},"jsonrpc":"2.0","id":ID}'],
  ['{"jsonrpc":"2.0","id":ID,"result":{"a":["LONG",', '{"jsonrpc":"2.0","id":ID,"result":{"b":"c"}}'],
] as const;

test.each([
  [8e6, HALF_LINES],
  // Over the cap a line is known by its edges alone.
  [1e6, HALF_LINES.slice(5, 6)],
] as const)(
  'half an answer with another behind it on its line fails the call of that one too, of %i bytes or less',
  async (maxMessageBytes, lines) => {
    const connection = await open(hostile(), { maxMessageBytes });
    const writes = (text: string): string =>
      `out(${JSON.stringify(text)}.replace('ID', id).replace('LONG', 'x'.repeat(1.5e6)))`;
    for (const inPieces of [false, true]) {
      const options = inPieces ? { raw: true, onLarge: () => ({ write: () => true }) } : {};
      for (const [first, second] of lines) {
        const left = new AbortController();
        const one = call(connection, 'x', { js: writes(first) }, { ...options, signal: left.signal });
        one.catch(() => undefined);
        const two = call(connection, 'x', { js: `globalThis.go = () => ${writes(second)}` }, options);
        two.catch(() => undefined);
        // Both are on their way.
        await turn();
        left.abort();
        await call(connection, 'x', { js: "globalThis.go(); out('\\n'); reply()" });
        const ended = await Promise.race([two, turn('it waits')]).catch(({ code }) => code);
        expect([first, inPieces, ended]).toEqual([first, inPieces, 'ERR_PROTOCOL']);
      }
    }
    expect(connection.alive).toBe(true);
  },
);

test('half an answer without an id fails the only call that is owed one, and a log line no call that it quotes', async () => {
  const connection = await open(hostile());
  const lines = [
    `'sent {"jsonrpc":"2.0","id":' + id + ',"result":{}}'`,
    `'{ "sent": {"jsonrpc":"2.0","id":' + id + ',"result":{}}'`,
    `'{"method":"ping","jsonrpc":"2.0","id":' + id + '}}'`,
    `'{ result: 1 }'`,
  ];
  const js = `for (const line of [${lines.join()}]) out(line + '\\n'); reply({ a: 1 })`;
  expect(await call(connection, 'x', { js })).toEqual({ a: 1 });
  const half = call(connection, 'x', { js: `out('{"result":{"a":1,\\n')` });
  await expect(half).rejects.toMatchObject({ code: 'ERR_PROTOCOL' });
});

test('half an answer without an id fails the call that is left when all others it may be of are answered, and never another', async () => {
  const connection = await open(hostile());
  const half = `out('{"result":{"a":1,\\n')`;
  const ends: string[] = [];
  const start = (name: string, signal?: AbortSignal, js = `globalThis.${name} = reply`): void => {
    const told = (how: string) => () => void ends.push(`${name} ${how}`);
    call(connection, 'x', { js }, { signal, onProgress: () => undefined }).then(told('answered'), ({ code }) =>
      told(typeof code === 'string' ? code : 'aborted')(),
    );
  };
  /** Has the server do something; what it wrote before is read by then. */
  const does = async (js: string): Promise<string[]> => {
    await call(connection, 'x', { js: `${js}; reply()` });
    await turn();
    return ends.splice(0);
  };
  // All of them at once, and one that is sent when the half has come.
  for (const name of ['a', 'b', 'c']) start(name);
  expect(await does(half)).toEqual([]);
  start('d');
  expect(await does('a()')).toEqual(['a answered']);
  expect(await does('c()')).toEqual(['b ERR_PROTOCOL', 'c answered']);
  expect(await does('d()')).toEqual(['d answered']);
  // Two may be of two calls, or of one.
  for (const name of ['a', 'b', 'c']) start(name);
  expect(await does(`${half};${half}`)).toEqual([]);
  expect(await does('b()')).toEqual(['b answered']);
  expect(await does('a()')).toEqual(['c ERR_PROTOCOL', 'a answered']);
  // It may be that of a call that was given up.
  const left = new AbortController();
  start('a', left.signal);
  start('b');
  await does('');
  left.abort();
  expect(await does(half)).toEqual(['a aborted']);
  expect(await does('b()')).toEqual(['b answered']);
  // A line that is whole, with more behind it, is no half: a log line may begin so.
  for (const name of ['a', 'b']) start(name);
  expect(await does(`out('{"result":{"a":1}} was sent\\n{"error":"x"},\\n')`)).toEqual([]);
  expect([await does('a()'), await does('b()')]).toEqual([['a answered'], ['b answered']]);
  // A server that says that it could not answer, or goes on with the call that is left, has broken off another.
  for (const sign of [
    'send({ id: globalThis.fails, error: { code: 1, message: "cannot write it" } })',
    "send({ method: 'notifications/progress', params: { progressToken: globalThis.works, progress: 1 } }); a()",
  ]) {
    start('a', undefined, 'globalThis.a = reply; globalThis.fails = id');
    start('b', undefined, 'globalThis.b = reply; globalThis.works = id');
    expect(await does(half)).toEqual([]);
    expect((await does(sign)).length).toBe(1);
    expect(await does('b()')).toEqual(['b answered']);
  }
});
