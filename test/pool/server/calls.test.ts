import { channel } from 'node:diagnostics_channel';
import { expect, test } from 'vitest';
import { MultiServerRateLimiter } from '../../../src/concurrent/limiter/MultiServerRateLimiter.js';
import { RateLimiter } from '../../../src/concurrent/limiter/RateLimiter.js';
import type { ServerNotice } from '../../../src/connection/protocol/messages.js';
import { RateLimitedError } from '../../../src/core/errors.js';
import type { CallTrace } from '../../../src/pool/server/calls/trace.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { closeAfter } from '../../support/closeAfter.js';
import { MEMORY, memoryPool, outcome } from '../../support/memoryPool.js';

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('timeouts: the call’s own, else its tool’s, else its server’s, else the pool’s', async () => {
  const { pool, call, clock } = memoryPool({ requestTimeoutMs: 4_000 });
  pool.addServer({ ...MEMORY, timeouts: { default: 3_000, byTool: { hang: 2_000 } } });
  await call('warm');
  const own = outcome(call('hang', { timeoutMs: 1_000 }));
  const tool = outcome(call('hang'));
  const server = outcome(pool.request('s', 'prompts/get', { name: 'hang' }));
  let over = 0;
  for (const each of [own, tool, server]) {
    void each.then(() => {
      over++;
    });
  }
  // The wheel's grain is 10 ms.
  for (let at = 0; at < 3; at++) {
    await clock.advance(at === 0 ? 980 : 950);
    expect(over).toBe(at);
    await clock.advance(50);
    expect(over).toBe(at + 1);
  }
  expect(await Promise.all([own, tool, server])).toEqual(Array(3).fill('ERR_REQUEST_TIMEOUT'));
  expect(pool.stats('s').errors).toEqual({ ERR_REQUEST_TIMEOUT: 3 });
});

test('deadlineMs bounds start, queue and call together', async () => {
  const { pool, connector, call, clock } = memoryPool();
  pool.addServer({ ...MEMORY, maxConcurrent: 1 });
  connector.onStart = () => new Promise((resolve) => clock.setTimer(resolve, 300));
  const starting = outcome(call('a', { deadlineMs: 200 }));
  await clock.advance(230);
  expect(await starting).toBe('ERR_ACQUIRE_TIMEOUT');
  await clock.advance(100);
  const hanging = outcome(call('hang', { deadlineMs: 500 }));
  const queued = outcome(call('b', { deadlineMs: 400 }));
  await clock.advance(430);
  expect(await queued).toBe('ERR_ACQUIRE_TIMEOUT');
  await clock.advance(100);
  expect(await hanging).toBe('ERR_REQUEST_TIMEOUT');
  expect(await outcome(call('c', { deadlineMs: Number.NaN }))).toBe('ERR_OPTION');
});

test('a limiter is asked first: its wait counts against deadlineMs, not timeoutMs, and a 429 pauses it', async () => {
  const clock = new FakeClock();
  const limiter = closeAfter(new RateLimiter({ maxRequests: 1, windowMs: 1_000, clock }));
  const { pool, connector, call } = memoryPool({ clock, limiter });
  pool.addServer(MEMORY);
  expect(await call('a')).toEqual({ name: 'a' });
  const waiting = call('b', { timeoutMs: 100 });
  const late = outcome(call('c', { deadlineMs: 500 }));
  await clock.advance(20);
  expect(await late).toBe('ERR_RATE_LIMITED');
  await clock.advance(1_000);
  expect(await waiting).toEqual({ name: 'b' });
  await clock.advance(1_000);
  connector.onMessage = ({ id }, connection) => {
    const call = connection.channel.pending(id as number);
    if (call !== undefined) connection.channel.failCall(call, new RateLimitedError('s', 'upstream', 5_000));
  };
  expect(await outcome(call('d'))).toBe('ERR_RATE_LIMITED');
  await clock.advance(2_000);
  expect(limiter.for({ server: 's' }).tryAcquire()).toBe(false);
  await clock.advance(3_100);
  expect(limiter.tryAcquire()).toBe(true);
});

test.each([
  ['stopServer', 'ERR_SERVER_STOPPED'],
  ['removeServer', 'ERR_CLOSED'],
  ['close', 'ERR_CLOSED'],
] as const)('a call that waits for its limiter ends with %s, at once, and takes no permit', async (end, code) => {
  const limiter = closeAfter(new RateLimiter({ maxRequests: 1, windowMs: 10_000 }));
  const { pool, call } = memoryPool({ limiter });
  pool.addServer(MEMORY);
  await call('a');
  let order = '';
  const own = new AbortController();
  const waiting = [outcome(call('b')), outcome(call('c', { signal: own.signal }))].map((each) =>
    each.then((told) => {
      order += 'call ';
      return told;
    }),
  );
  await settled();
  expect(limiter.blockedCount).toBe(2);
  await (end === 'close' ? pool.close() : pool[end]('s'));
  order += end;
  expect(await Promise.all(waiting)).toEqual([code, code]);
  expect(order).toBe(`call call ${end}`);
  expect(limiter.blockedCount).toBe(0);
});

test('a table of limiters gives each server its own', async () => {
  const clock = new FakeClock();
  const limiter = closeAfter(new MultiServerRateLimiter({ maxRequests: 1, windowMs: 1_000, clock }));
  const { pool, call } = memoryPool({ clock, limiter });
  pool.addServer(MEMORY);
  pool.addServer({ ...MEMORY, name: 't' });
  await call('a');
  await pool.request('t', 'tools/call', { name: 'a' });
  expect(await outcome(call('b', { deadlineMs: 10 }))).toBe('ERR_RATE_LIMITED');
});

test('what may have run is sent once more if it may be repeated, and else never', async () => {
  // No backoff between the crashes.
  const { pool, connector, call } = memoryPool({ stableAfterMs: 0 });
  pool.addServer(MEMORY);
  const crashing = (times: number): void => {
    let left = times;
    connector.onMessage = ({ id, params }, connection) => {
      if (id === undefined) return;
      if (left-- > 0) connection.die('it crashed');
      else connection.answer(id, params ?? {});
    };
  };
  const reached = (): number =>
    connector.made.reduce((sum, { seen }) => sum + seen.filter(({ id }) => id !== undefined).length, 0);
  crashing(1);
  expect(await outcome(call('a'))).toBe('ERR_OUTCOME_UNKNOWN');
  expect(reached()).toBe(1);
  crashing(1);
  expect(await call('a', { idempotent: true })).toEqual({ name: 'a' });
  expect(reached()).toBe(3);
  crashing(1);
  expect(await pool.request('s', 'tools/list', {})).toEqual({});
  crashing(1);
  expect(await outcome(pool.request('s', 'tools/list', { cursor: '' }))).toBe('ERR_OUTCOME_UNKNOWN');
  expect(reached()).toBe(6);
});

test('in leased and bound mode nothing is sent again', async () => {
  for (const sharing of ['leased', 'bound'] as const) {
    const { pool, connector } = memoryPool();
    pool.addServer({ ...MEMORY, sharing });
    connector.onMessage = (_, connection) => connection.die('it crashed');
    const options = { idempotent: true, caller: { key: 'k' } };
    expect(await outcome(pool.request('s', 'ping', undefined, options))).toBe('ERR_OUTCOME_UNKNOWN');
    expect(connector.made).toHaveLength(1);
  }
});

test('a repeated call whose second send never ran still says that the first may have', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer(MEMORY);
  connector.onMessage = (_, connection) => {
    connector.onStart = () => Promise.reject(new Error('gone for good'));
    connection.die('it crashed');
  };
  expect(await outcome(call('a', { idempotent: true }))).toBe('ERR_OUTCOME_UNKNOWN');
  expect(connector.attempts).toBe(2);
});

test('the diagnostics channel follows a call: queue, send, answer', async () => {
  const seen: CallTrace[] = [];
  const listen = (trace: unknown): void => void seen.push(trace as CallTrace);
  channel('mcp-poolkit:call').subscribe(listen);
  try {
    const { pool, connector, call } = memoryPool();
    pool.addServer(MEMORY);
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await pool.request('s', 'tools/call', { name: 'a', _meta: { traceparent, tracestate: 'x=1' } });
    expect(seen.map(({ phase }) => phase)).toEqual(['queue', 'send', 'answer']);
    expect(new Set(seen.map((trace) => trace.call)).size).toBe(1);
    expect(seen[0]).toMatchObject({ server: 's', method: 'tools/call', traceparent });
    // Trace context passes through.
    expect(connector.last.seen[0]?.params).toMatchObject({ _meta: { traceparent, tracestate: 'x=1' } });
    seen.length = 0;
    await outcome(call('refuse'));
    expect(seen.at(-1)).toMatchObject({ phase: 'answer', error: { code: 'ERR_RPC' } });
    seen.length = 0;
    await outcome(call('crash', { idempotent: true }));
    expect(seen.map(({ phase }) => phase)).toEqual(['queue', 'send', 'retry', 'send', 'answer']);
    seen.length = 0;
    connector.onStart = () => Promise.reject(new Error('no'));
    await outcome(call('a'));
    expect(seen.map(({ phase }) => phase)).toEqual(['queue', 'answer']);
  } finally {
    channel('mcp-poolkit:call').unsubscribe(listen);
  }
});

test('the breaker opens after failures in a row, lets one try after a while, and closes on an answer', async () => {
  const { pool, connector, call, clock } = memoryPool({
    breakerThreshold: 3,
    breakerResetMs: 1_000,
    breakerCountsTimeouts: true,
  });
  pool.addServer(MEMORY);
  const states: string[] = [];
  pool.on('state', ({ state }) => states.push(state));
  await call('a');
  const fail = async (): Promise<unknown> => {
    const failing = outcome(call('hang', { timeoutMs: 10 }));
    await clock.advance(40);
    return failing;
  };
  for (let i = 0; i < 2; i++) expect(await fail()).toBe('ERR_REQUEST_TIMEOUT');
  // An answer, if only a refusal, starts the count anew; an abort is nothing.
  expect(await outcome(call('refuse'))).toBe('ERR_RPC');
  await call('a');
  for (let i = 0; i < 3; i++) expect(await fail()).toBe('ERR_REQUEST_TIMEOUT');
  expect(pool.stats('s')).toMatchObject({ breaker: 'open', state: 'degraded' });
  expect(await outcome(call('a'))).toBe('ERR_CIRCUIT_OPEN');
  const refused = await call('a').catch((error: unknown) => error);
  expect(refused).toMatchObject({ retryAfterMs: expect.any(Number), cause: { code: 'ERR_REQUEST_TIMEOUT' } });
  await clock.advance(1_000);
  // The wall clock may jump: it decides nothing.
  clock.stepWall(-3_600_000);
  const control = new AbortController();
  const probe = outcome(call('hang', { signal: control.signal }));
  await settled();
  expect(pool.stats('s').breaker).toBe('half-open');
  expect(await outcome(call('a'))).toBe('ERR_CIRCUIT_OPEN');
  control.abort(new Error('never mind'));
  await probe;
  // That one proved nothing; the next may try at once, and fails: open again, for the whole time.
  expect(pool.stats('s').breaker).toBe('open');
  expect(await fail()).toBe('ERR_REQUEST_TIMEOUT');
  expect(await outcome(call('a'))).toBe('ERR_CIRCUIT_OPEN');
  await clock.advance(1_000);
  expect(await call('a')).toEqual({ name: 'a' });
  expect(pool.stats('s')).toMatchObject({ breaker: 'closed', state: 'ready' });
  for (let i = 0; i < 3; i++) await fail();
  await pool.restartServer('s');
  expect(pool.stats('s')).toMatchObject({ breaker: 'closed', state: 'ready', restarts: 1 });
  expect(states).toContain('degraded');
  expect(connector.made).toHaveLength(2);
});

test('a crash is one failure to the breaker, however many calls it took with it', async () => {
  const { pool, connector, call } = memoryPool({ breakerThreshold: 3, stableAfterMs: 0 });
  pool.addServer(MEMORY);
  for (let crash = 1; crash <= 3; crash++) {
    const hanging = Array.from({ length: 20 }, () => outcome(call('hang')));
    await settled();
    connector.last.die('it crashed');
    expect(new Set(await Promise.all(hanging))).toEqual(new Set(['ERR_OUTCOME_UNKNOWN']));
    expect(pool.stats('s').breaker).toBe(crash < 3 ? 'closed' : 'open');
  }
});

test('what belongs to no call says whether calls are in flight where it came', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer({ ...MEMORY, sharing: 'leased', maxConnections: 2 });
  const busy: unknown[] = [];
  pool.on('notification', (event) => busy.push(event.busy));
  const calls = [call('hang'), call('hang')];
  await settled();
  const [first, second] = connector.made;
  first?.answer(first.seen.at(-1)?.id as number, 'done');
  await Promise.race(calls);
  for (const each of [first, second]) each?.say({ method: 'notifications/message' });
  expect(busy).toEqual([false, true]);
  second?.answer(second.seen.at(-1)?.id as number, 'done');
  await Promise.all(calls);
});

test('a lease is a whole connection: requests, notices, listeners, and a signal that tells of its end', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer({ ...MEMORY, sharing: 'leased', maxConnections: 1 });
  const orphans: ServerNotice[] = [];
  pool.on('notification', ({ notice }) => orphans.push(notice));
  const lease = await pool.lease('s');
  const heard: ServerNotice[] = [];
  lease.on('notification', () => {
    throw new Error('one that throws');
  });
  const listening = lease.on('notification', (notice) => heard.push(notice));
  lease.on('request', async ({ method }) => ({ method }));
  expect(() => lease.on('request', async () => ({}))).toThrow('one listener');
  expect(await lease.request('tools/call', { name: 'a' })).toEqual({ name: 'a' });
  await lease.notify('notifications/roots/list_changed');
  expect(connector.last.seen.at(-1)?.method).toBe('notifications/roots/list_changed');
  connector.last.say({ method: 'notifications/x' });
  connector.last.say({ id: 'q', method: 'roots/list' });
  await settled();
  expect(heard).toEqual([{ method: 'notifications/x' }]);
  expect(orphans).toEqual([]);
  expect(connector.last.seen.at(-1)).toMatchObject({ id: 'q', result: { method: 'roots/list' } });
  expect(pool.stats('s').orphanRequests).toBe(0);
  // A call under way keeps the connection from the next holder.
  const hanging = lease.request('tools/call', { name: 'hang' });
  const id = connector.last.seen.at(-1)?.id;
  await settled();
  lease.release();
  lease.release();
  await expect(lease.request('ping')).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  await expect(lease.notify('x')).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  const next = call('b');
  await settled();
  expect(connector.last.calls).not.toContain('b');
  connector.last.answer((id as unknown as number) ?? 0, {});
  connector.last.answer(connector.last.seen.find(({ params }) => params?.['name'] === 'hang')?.id as number, 'late');
  expect(await hanging).toBe('late');
  expect(await next).toEqual({ name: 'b' });
  connector.last.say({ method: 'notifications/y' });
  expect(orphans).toEqual([{ method: 'notifications/y' }]);
  listening[Symbol.dispose]();
  const second = await pool.lease('s');
  connector.last.die('it crashed');
  expect(second.signal.aborted).toBe(true);
  await expect(second.request('ping')).rejects.toMatchObject({ code: 'ERR_NOT_SENT' });
  await second[Symbol.asyncDispose]();
});

test('a call’s own listeners hear what comes while it runs on a connection of its own', async () => {
  const { pool, connector } = memoryPool();
  pool.addServer({ ...MEMORY, sharing: 'bound' });
  const caller = { key: 'k' };
  const heard: string[] = [];
  const hanging = pool.request(
    's',
    'tools/call',
    { name: 'hang' },
    {
      caller,
      onNotification: ({ method }) => heard.push(method),
      onRequest: async () => ({ own: true }),
    },
  );
  await settled();
  connector.last.say({ method: 'notifications/a' });
  connector.last.say({ id: 1, method: 'elicitation/create' });
  await settled();
  expect(connector.last.seen.at(-1)).toMatchObject({ result: { own: true } });
  connector.last.answer(connector.last.seen[0]?.id as number, 'done');
  expect(await hanging).toBe('done');
  connector.last.say({ method: 'notifications/b' });
  expect(heard).toEqual(['notifications/a']);
});

test('requests that belong to nobody go to the first listener that responds, else they are refused and counted', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer(MEMORY);
  await call('a', { caller: { principal: 'p' } });
  connector.last.say({ id: 1, method: 'roots/list' });
  await settled();
  expect(connector.last.seen.at(-1)).toMatchObject({ id: 1, error: { code: -32601 } });
  pool.on('orphanRequest', ({ principal, respond }) => respond(Promise.resolve({ principal })));
  // One that comes second is not asked for: it may fail, and no one hears of it.
  pool.on('orphanRequest', ({ respond }) => respond(Promise.reject(new Error('too late'))));
  connector.last.say({ id: 2, method: 'roots/list' });
  await settled();
  expect(connector.last.seen.at(-1)).toMatchObject({ id: 2, result: { principal: 'p' } });
  expect(pool.stats('s').orphanRequests).toBe(2);
});

test('a lease held too long is reported with the stack that took it', async () => {
  const { pool, clock } = memoryPool({ leakThresholdMs: 1_000 });
  pool.addServer({ ...MEMORY, sharing: 'leased' });
  const leaked: { heldMs: number; stack: string | undefined }[] = [];
  pool.on('leaked', (report) => leaked.push(report));
  const short = await pool.lease('s');
  short.release();
  const long = await pool.lease('s');
  await clock.advance(1_000);
  expect(leaked).toEqual([{ server: 's', heldMs: 1_000, stack: expect.stringContaining('lease of server s') }]);
  long.release();
});

test('credentials are asked once at a time for each principal, and their env is what the start gets', async () => {
  const asked: string[] = [];
  const { pool, call } = memoryPool({
    credentials: async ({ caller, reason }) => {
      asked.push(`${reason} ${caller?.principal} ${String(caller?.context)}`);
      await settled();
      return { env: { TOKEN: `${caller?.principal}` } };
    },
  });
  pool.addServer(MEMORY);
  await Promise.all(['a', 'b', 'a'].map((principal) => call('x', { caller: { principal, context: 'c' } })));
  expect(asked.sort()).toEqual(['start a c', 'start b c']);
});

test('health: an idle server that answers no ping twice is ended, a busy one never, one without ping is left alone', async () => {
  const options = { healthIntervalMs: 1_000, healthTimeoutMs: 100, idleTimeoutMs: 600_000 };
  const pings = (connector: { last: { seen: readonly { method: string }[] } }): number =>
    connector.last.seen.filter(({ method }) => method === 'ping').length;
  const ill = memoryPool(options);
  ill.pool.addServer(MEMORY);
  ill.connector.onMessage = ({ id, method }, connection) => {
    if (id !== undefined && method === 'tools/call') connection.answer(id, {});
  };
  await ill.call('a');
  await ill.clock.advance(1_500);
  expect(ill.connector.last.alive).toBe(true);
  await ill.clock.advance(1_500);
  expect([ill.connector.last.alive, pings(ill.connector)]).toEqual([false, 2]);
  expect(ill.pool.stats('s').lastError).toContain('ping');
  const busy = memoryPool(options);
  busy.pool.addServer(MEMORY);
  await busy.call('a');
  const hanging = outcome(busy.call('hang'));
  await busy.clock.advance(10_000);
  expect([busy.connector.last.alive, pings(busy.connector)]).toEqual([true, 0]);
  await busy.pool.close({ graceMs: 0 });
  await hanging;
  const mute = memoryPool(options);
  mute.pool.addServer(MEMORY);
  mute.connector.onMessage = ({ id, method }, connection) => {
    if (method === 'ping') connection.say({ id, error: { code: -32601, message: 'unknown' } });
    else if (id !== undefined) connection.answer(id, {});
  };
  await mute.call('a');
  await mute.clock.advance(10_000);
  expect([mute.connector.last.alive, pings(mute.connector)]).toEqual([true, 1]);
});

test('legacy subscriptions: one ask for many, updates to those who asked, taken up again, given back by the last', async () => {
  const { pool, connector, call, clock } = memoryPool();
  pool.addServer(MEMORY);
  const asks = (): string[] =>
    connector.made.flatMap(({ seen }, i) =>
      seen
        .filter(({ method }) => method.startsWith('resources/'))
        .map(({ method, params }) => `${i} ${method.slice(10)} ${params?.['uri']}`),
    );
  const heard: string[] = [];
  const subscribe = (who: string, uris: string[], principal: string, signal?: AbortSignal) =>
    pool.subscribe(
      's',
      { resourceUris: uris, toolsListChanged: who === 'a' },
      {
        caller: { principal },
        ...(signal && { signal }),
        onNotification: ({ params, method }) => heard.push(`${who} ${params?.['uri'] ?? method}`),
      },
    );
  const control = new AbortController();
  const [a, b] = await Promise.all([subscribe('a', ['x', 'y'], 'p'), subscribe('b', ['x'], 'p', control.signal)]);
  const c = await subscribe('c', ['x'], 'q');
  expect(asks()).toEqual(['0 subscribe x', '0 subscribe y', '1 subscribe x']);
  const updated = (i: number, uri: string): void =>
    connector.made[i]?.say({ method: 'notifications/resources/updated', params: { uri } });
  updated(0, 'x');
  updated(0, 'y');
  updated(1, 'x');
  connector.made[0]?.say({ method: 'notifications/tools/list_changed' });
  expect(heard).toEqual(['a x', 'b x', 'a y', 'c x', 'a notifications/tools/list_changed']);
  // After a crash they are taken up again without a call.
  connector.made[0]?.die('it crashed');
  await clock.advance(10);
  expect(asks().slice(3).sort()).toEqual(['2 subscribe x', '2 subscribe y']);
  updated(2, 'y');
  expect(heard.at(-1)).toBe('a y');
  control.abort();
  await b.ended;
  await settled();
  expect(asks()).toHaveLength(5);
  await a.close();
  expect(asks().slice(5).sort()).toEqual(['2 unsubscribe x', '2 unsubscribe y']);
  // A restart ends none of them, a stop all.
  await pool.restartServer('s');
  await clock.advance(10);
  expect(asks().at(-1)).toBe(`${connector.made.length - 1} subscribe x`);
  await pool.stopServer('s');
  await c.ended;
  await call('x').catch(() => undefined);
  const refusing = memoryPool();
  refusing.pool.addServer(MEMORY);
  refusing.connector.onMessage = ({ id, method, params }, connection) => {
    if (id === undefined) return;
    if (method === 'resources/subscribe' && params?.['uri'] === 'bad')
      connection.say({ id, error: { code: -1, message: 'no' } });
    else connection.answer(id, {});
  };
  const given = { resourceUris: ['good', 'bad'] };
  await expect(refusing.pool.subscribe('s', given, { onNotification: () => undefined })).rejects.toMatchObject({
    code: 'ERR_RPC',
  });
  expect(refusing.connector.last.seen.map(({ method }) => method)).toContain('resources/unsubscribe');
});

test('a subscribed connection does not idle away; another does, and is back on its next use', async () => {
  const { pool, connector, call, clock } = memoryPool({ idleTimeoutMs: 10_000, healthIntervalMs: 600_000 });
  pool.addServer(MEMORY);
  const subscription = await pool.subscribe('s', { toolsListChanged: true }, { onNotification: () => undefined });
  await clock.advance(30_000);
  expect(connector.live).toHaveLength(1);
  await subscription.close();
  expect(await call('a')).toEqual({ name: 'a' });
  expect(pool.stats('s')).toMatchObject({ restarts: 0, connections: 1 });
});

test('every page of a list, the shortest freshness; one beyond its bounds is an error', async () => {
  const { pool, connector } = memoryPool();
  pool.addServer(MEMORY);
  const pages: Record<string, object> = {
    '-': { tools: [{ name: 'a' }], nextCursor: '', ttlMs: 50, cacheScope: 'public' },
    '': { tools: [{ name: 'b' }], nextCursor: 'c', ttlMs: 20, cacheScope: 'private' },
    c: { tools: [{ name: 'd' }], ttlMs: 30, cacheScope: 'public' },
  };
  connector.onMessage = ({ id, params }, connection) => {
    if (id !== undefined) connection.answer(id, pages[String(params?.['cursor'] ?? '-')]);
  };
  expect(await pool.listAll('s', 'tools')).toEqual({
    items: [{ name: 'a' }, { name: 'b' }, { name: 'd' }],
    pages: 3,
    ttlMs: 20,
    cacheScope: 'private',
  });
  expect(await outcome(pool.listAll('s', 'tools', { maxPages: 2 }))).toBe('ERR_PROTOCOL');
  expect(await outcome(pool.listAll('s', 'prompts'))).toBe('ERR_PROTOCOL');
  expect(await outcome(pool.listAll('s', 'tools', { maxItems: 2 }))).toBe('ERR_PROTOCOL');
  pages['c'] = { tools: [{ name: 'd', description: 'x'.repeat(2_000) }] };
  expect(await outcome(pool.listAll('s', 'tools', { maxBytes: 1_024 }))).toBe('ERR_PROTOCOL');
  let asked = 0;
  connector.onMessage = ({ id }, connection) => {
    if (id !== undefined) connection.answer(id, { tools: [], nextCursor: `${asked++}${'x'.repeat(400)}` });
  };
  expect(await outcome(pool.listAll('s', 'tools', { maxBytes: 1_024 }))).toBe('ERR_PROTOCOL');
  expect(asked).toBe(3);
  // Each page is cheap, and its text short.
  asked = 0;
  const odd = Array.from({ length: 5_720 }, () => []);
  connector.onMessage = ({ id }, connection) => {
    if (id !== undefined) connection.answer(id, { tools: [{ n: asked++, odd }], nextCursor: `${asked}` });
  };
  await expect(pool.listAll('s', 'tools')).rejects.toThrow('has too many values');
  expect(asked).toBe(100);
});

test('a list whose cursor is empty, repeats or does not advance is kept as far as it was read, without doubles', async () => {
  const { pool, connector } = memoryPool();
  pool.addServer(MEMORY);
  const names = async (): Promise<readonly string[]> =>
    (await pool.listAll('s', 'tools')).items.map(({ name }) => name);
  const answers = (page: (cursor: string | undefined) => object): void => {
    connector.onMessage = ({ id, params }, connection) => {
      if (id !== undefined) connection.answer(id, page(params?.['cursor'] as string | undefined));
    };
  };
  // The end is told as an empty string, which means the first page when it is sent back.
  answers((cursor) =>
    cursor === 'b' ? { tools: [{ name: 'b' }], nextCursor: '' } : { tools: [{ name: 'a' }], nextCursor: 'b' },
  );
  expect(await names()).toEqual(['a', 'b']);
  answers((cursor) => ({ tools: [{ name: cursor ?? 'a' }], nextCursor: 'b' }));
  expect(await names()).toEqual(['a', 'b']);
  let page = 0;
  // The cursor stays, although the pages do not.
  answers(() => ({ tools: [{ name: `${page++}` }], nextCursor: 'same' }));
  expect(await names()).toEqual(['0', '1']);
  page = 0;
  answers(() => ({ tools: [{ name: 'a' }, null], nextCursor: `${page++}` }));
  expect((await pool.listAll('s', 'tools')).items).toEqual([{ name: 'a' }, null]);
  connector.onMessage = ({ id, params }, connection) => {
    if (params?.['cursor'] === '') connection.say({ id, error: { code: -32602, message: 'bad cursor' } });
    else if (id !== undefined) connection.answer(id, { tools: [{ name: 'a' }], nextCursor: '' });
  };
  expect(await names()).toEqual(['a']);
});

test('a list that never ends is refused when its time is over', async () => {
  const { pool, connector, clock } = memoryPool();
  pool.addServer(MEMORY);
  let page = 0;
  connector.onMessage = ({ id }, connection) => {
    page++;
    clock.setTimer(() => connection.answer(id as number, { tools: [{ name: `${page}` }], nextCursor: `${page}` }), 100);
  };
  const listing = outcome(pool.listAll('s', 'tools', { maxTotalTimeoutMs: 1_000 }));
  await clock.advance(1_200);
  expect(['ERR_PROTOCOL', 'ERR_REQUEST_TIMEOUT']).toContain(await listing);
  expect(page).toBeLessThan(12);
});

test('what may be repeated is repeated once, not for ever', async () => {
  const { pool, connector, call } = memoryPool({ stableAfterMs: 0 });
  pool.addServer(MEMORY);
  connector.onMessage = (_, connection) => connection.die('it crashed');
  expect(await outcome(call('a', { idempotent: true }))).toBe('ERR_OUTCOME_UNKNOWN');
  expect(connector.made.map(({ calls }) => calls)).toEqual([['a'], ['a']]);
});

test('early deaths are remembered however long after each other they come', async () => {
  const { pool, call, clock } = memoryPool({ backoff: { initialMs: 5_000, jitterRatio: 0 } });
  pool.addServer(MEMORY);
  for (let i = 0; i < 2; i++) {
    expect(await outcome(call('crash'))).toBe('ERR_OUTCOME_UNKNOWN');
    await clock.advance(2_000);
  }
  expect(await outcome(call('a'))).toBe('ERR_BACKING_OFF');
  await clock.advance(3_100);
  expect(await call('a')).toEqual({ name: 'a' });
  expect(pool.stats('s').restarts).toBe(2);
});

test('a stop overtakes a start that waits: nothing is started for it', async () => {
  const { pool, connector } = memoryPool();
  await pool.startServer(MEMORY);
  const restarting = outcome(pool.restartServer('s'));
  const starting = outcome(pool.startServer('s'));
  await pool.stopServer('s');
  expect(await Promise.all([restarting, starting])).toEqual(['ERR_SERVER_STOPPED', 'ERR_SERVER_STOPPED']);
  expect(connector.attempts).toBe(1);
  await pool.startServer('s');
  expect(pool.state('s')).toBe('ready');
});
