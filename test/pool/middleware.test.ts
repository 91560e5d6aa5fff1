import { expect, test } from 'vitest';
import { CallResult } from '../../src/connection/calls/CallResult.js';
import type { MiddlewareCall } from '../../src/connection/calls/Middleware.js';
import { ForbiddenError, OptionError } from '../../src/core/errors.js';
import { everything } from '../support/everything.js';
import { MEMORY, memoryPool } from '../support/memoryPool.js';
import { fixture } from '../support/servers.js';
import { stdioPool } from '../support/stdioPool.js';

const text = (result: unknown): string => JSON.stringify(result);

test('middleware stands around every call in its order: it sees, changes, answers in its place, and fails it', async () => {
  const pool = stdioPool({ ledger: false });
  await pool.startServer(everything());
  const seen: string[] = [];
  const note = (name: string) =>
    pool.use(async (call, next) => {
      if (call.from === 'server') return next();
      seen.push(
        `${name} ${call.method} ${call.tool ?? ''} ${call.attempt} ${call.caller?.principal ?? ''} ${call.era}`,
      );
      const result = await next();
      seen.push(`${name} back`);
      return result;
    });
  const outer = note('outer');
  note('inner');
  const caller = { principal: 'ann' };
  expect(text(await pool.callTool('everything', 'echo', { message: 'hi' }, { caller }))).toContain('Echo: hi');
  // Ann's connection is the first of her own: before its handshake its era is not known.
  expect(seen).toEqual([
    'outer tools/call echo 1 ann undefined',
    'inner tools/call echo 1 ann undefined',
    'inner back',
    'outer back',
  ]);
  outer[Symbol.dispose]();
  seen.length = 0;
  await pool.listAll('everything', 'tools');
  expect(seen).toEqual(['inner tools/list  1  legacy', 'inner back']);

  const change = pool.use(async (call, next) =>
    call.tool === 'echo' ? next({ params: { ...call.params, arguments: { message: 'changed' } } }) : next(),
  );
  expect(text(await pool.callTool('everything', 'echo', { message: 'hi' }))).toContain('Echo: changed');
  change[Symbol.dispose]();

  const answer = pool.use(async (call, next) => (call.tool === 'mine' ? { content: [] } : next()));
  expect(await pool.callTool('everything', 'mine')).toEqual({ content: [] });
  const bytes = await pool.request('everything', 'tools/call', { name: 'mine' }, { raw: true });
  expect(Buffer.from(bytes as Uint8Array).toString()).toBe('{"content":[]}');
  answer[Symbol.dispose]();

  const planted = new Error('planted');
  const failing = pool.use(() => Promise.reject(planted));
  await expect(pool.callTool('everything', 'echo', { message: 'hi' })).rejects.toBe(planted);
  failing[Symbol.dispose]();
  const nothing = pool.use((async () => undefined) as never);
  await expect(pool.callTool('everything', 'echo', { message: 'hi' })).rejects.toThrow(OptionError);
  nothing[Symbol.dispose]();
  expect(() => pool.use(7 as never)).toThrow(OptionError);

  const twice = pool.use(async (_call, next) => {
    await next();
    return next();
  });
  const attempts: number[] = [];
  const count = pool.use(async (call, next) => {
    attempts.push(call.attempt);
    return next();
  });
  await pool.callTool('everything', 'echo', { message: 'hi' });
  expect(attempts).toEqual([1, 2]);
  twice[Symbol.dispose]();
  count[Symbol.dispose]();

  const control = new AbortController();
  const abort = pool.use(async (_call, next) => {
    const result = next({ signal: control.signal });
    control.abort(planted);
    return result;
  });
  await expect(pool.callTool('everything', 'echo', { message: 'hi' })).rejects.toBe(planted);
  abort[Symbol.dispose]();
});

test('what a server says and asks passes through, too: progress, notifications, and on leases and subscriptions', async () => {
  const pool = stdioPool({ ledger: false });
  await pool.startServer({ ...everything(), sharing: 'leased', clientCapabilities: { roots: {} } });
  const seen: Pick<MiddlewareCall, 'kind' | 'from' | 'method'>[] = [];
  pool.use(async (call, next) => {
    const { kind, from, method } = call;
    if (from === 'server') seen.push({ kind, from, method });
    // Held back for a turn: what came after waits for it.
    await new Promise((resolve) => setImmediate(resolve));
    if (call.params?.['progress'] === 2) throw new Error('not this one');
    if (method === 'roots/list') return { roots: [{ uri: 'file:///swapped' }] };
    return next(method === 'notifications/progress' ? { params: { ...call.params, total: 42 } } : undefined);
  });
  const progress: unknown[] = [];
  const params = { name: 'trigger-long-running-operation', arguments: { duration: 0.03, steps: 3 } };
  const lease = await pool.lease('everything');
  lease.on('request', async () => ({ roots: [{ uri: 'file:///mine' }] }));
  await lease.request('tools/call', params, {
    onProgress: ({ progress: at, total }) => progress.push([at, total]),
  });
  expect(progress).toEqual([
    [1, 42],
    [3, 42],
  ]);
  expect(seen.filter(({ method }) => method === 'notifications/progress')).toHaveLength(3);
  const roots = await lease.request('tools/call', { name: 'get-roots-list', arguments: {} });
  expect(text(roots)).toContain('file:///swapped');
  expect(seen).toContainEqual({ kind: 'request', from: 'server', method: 'roots/list' });
  lease.release();
});

test('bytes pass to the digit; a result is parsed when it is looked at, and what is left as it was keeps its text', async () => {
  const pool = stdioPool({ ledger: false });
  const line = (text: string): string =>
    `process.stdin.on('data',d=>{for(const l of String(d).split('\\n'))if(l){const{id,method}=JSON.parse(l);if(id!==undefined)process.stdout.write(method==='initialize'?'{"jsonrpc":"2.0","id":'+id+',"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"n","version":"1"}}}\\n':'{"jsonrpc":"2.0","id":'+id+',"result":${text},"line":'+JSON.stringify(l)+'}\\n')}})`;
  const result = '{"a":12345678901234567890,"b":{"c":1.0,"d":"x"},"e":[1e400]}';
  await pool.startServer({ name: 'v', transport: 'stdio', command: process.execPath, args: ['-e', line(result)] });
  const raw = async (): Promise<string> =>
    Buffer.from((await pool.request('v', 'any', { n: 1 }, { raw: true })) as Uint8Array).toString();
  const noop = pool.use((_call, next) => next());
  expect(await raw()).toBe(result);
  noop[Symbol.dispose]();
  const swap = pool.use(async (_call, next) => {
    const given = await next();
    const value = given.value as { b: object };
    return given.with({ ...value, b: { ...value.b, d: 'swapped' }, f: 1 });
  });
  expect(JSON.parse(await raw())).toMatchObject({ b: { d: 'swapped' }, f: 1 });
  expect(await raw()).toMatch(/"a":12345678901234567890.*"c":1\.0/);
  expect(await raw()).toContain('"e":[1e400]');
  swap[Symbol.dispose]();
  expect(CallResult.of({ a: 1 }).with({ a: 2 }).text).toBe('{"a":2}');

  // The same for what is sent: the text of what was not changed stays.
  await pool.startServer({
    name: 'verbatim',
    transport: 'stdio',
    command: process.execPath,
    args: [fixture('verbatim-server.mjs')],
  });
  pool.use((call, next) =>
    next({ params: { ...call.params, arguments: { ...(call.params?.['arguments'] as object), added: 'yes' } } }),
  );
  const paramsText = '{"name":"echo","arguments":{"n":12345678901234567890,"f":1.0}}';
  const sent = await pool
    .request('verbatim', 'tools/call', JSON.parse(paramsText), { raw: true, paramsText })
    .catch((error) => String(error.data.line));
  expect(sent).toContain('"arguments":{"n":12345678901234567890,"f":1.0,"added":"yes"}');
});

test('middleware that never ends keeps no call from settling, and no pool from closing', async () => {
  const pool = stdioPool({ ledger: false });
  await pool.startServer(everything());
  const hung = new Promise<never>(() => undefined);
  let sent = 0;
  // One holds its call back, another keeps to itself how its call ended.
  pool.use((call, next) => (call.tool === 'held' || call.kind === 'notification' ? hung : next()));
  pool.use(async (call, next) => {
    if (call.method !== 'tools/call') return next();
    await next();
    sent++;
    return hung;
  });
  const controller = new AbortController();
  const { signal } = controller;
  const outcome = (call: Promise<unknown>): Promise<unknown> => call.then(String, (error: unknown) => error);
  const given = [
    outcome(pool.callTool('everything', 'held', {}, { signal })),
    outcome(pool.notify('everything', 'notifications/roots/list_changed', {}, { signal })),
    outcome(pool.callTool('everything', 'echo', { message: 'hi' }, { signal })),
  ];
  const left = [
    outcome(pool.callTool('everything', 'held')),
    outcome(pool.callTool('everything', 'echo', { message: 'hi' })),
  ];
  await expect.poll(() => sent).toBe(2);
  const gone = new Error('gone');
  controller.abort(gone);
  // What was not sent never will be; what was sent may have run.
  expect(await Promise.all(given.slice(0, 2))).toEqual([gone, gone]);
  expect(await given[2]).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN', server: 'everything', method: 'tools/call' });
  await pool.close({ graceMs: 50 });
  expect(await left[0]).toMatchObject({ code: 'ERR_CLOSED' });
  expect(await left[1]).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' });
});

test('large notifications that wait for slow middleware are bounded in bytes', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer(MEMORY);
  let go!: () => void;
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  pool.use(async (passing, next) => {
    if (passing.kind === 'notification') await gate;
    return next();
  });
  const large = 'x'.repeat(1_000_000);
  connector.onMessage = ({ id }, connection) => {
    for (let progress = 1; progress <= 10; progress++) {
      connection.say({ method: 'notifications/progress', params: { progressToken: id, progress, message: large } });
    }
    connection.answer(id as number, {});
    go();
  };
  const heard: number[] = [];
  await call('add', { onProgress: ({ progress }) => heard.push(progress) });
  expect(heard).toEqual([1, 2]);
});

test('what is subscribed to passes URI by URI: one that is refused, or another by then, is not asked for', async () => {
  const pool = stdioPool();
  pool.addServer({ name: 's', transport: 'stdio', command: process.execPath, args: [fixture('uri-counter.mjs')] });
  const seen: unknown[] = [];
  const used = pool.use(async (call, next) => {
    if (call.method !== 'resources/subscribe') return next();
    seen.push([call.kind, call.from, call.server, call.uri, call.caller?.principal]);
    if (call.uri === 'u:closed') throw new ForbiddenError('s', { why: 'not this one' });
    if (call.uri === 'u:quiet') return {};
    return call.uri === 'u:other' ? next({ params: { uri: 'u:open' } }) : next();
  });
  const options = { onNotification: () => undefined, caller: { principal: 'p' } };
  const subscribed = async (): Promise<unknown> => {
    const params = { name: 'count', arguments: {} };
    const { content } = await pool.request('s', 'tools/call', params, { caller: options.caller });
    return JSON.parse((content as { text: string }[])[0]?.text ?? '').subscribed;
  };
  const uris = ['u:closed', 'u:open', 'u:quiet', 'u:other'];
  const some = await pool.subscribe('s', { resourceUris: uris }, options);
  expect(some.filter.resourceUris).toEqual(['u:open']);
  expect(seen).toEqual(uris.map((uri) => ['request', 'client', 's', uri, 'p']));
  for (const uri of ['u:closed', 'u:quiet', 'u:other']) {
    await expect(pool.subscribe('s', { resourceUris: [uri] }, options)).rejects.toBeInstanceOf(ForbiddenError);
  }
  expect(await subscribed()).toEqual(['u:open']);
  used[Symbol.dispose]();
  await pool.subscribe('s', { resourceUris: ['u:closed'] }, options);
  expect(await subscribed()).toEqual(['u:open', 'u:closed']);
});
