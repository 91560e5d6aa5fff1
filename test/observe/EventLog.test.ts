import { Writable } from 'node:stream';
import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import { OptionError } from '../../src/core/errors.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { EventLog, LOG_EVENTS } from '../../src/observe/index.js';
import { closeAfter } from '../support/closeAfter.js';
import { RawClient } from '../support/httpClient.js';
import { MEMORY, memoryPool, outcome } from '../support/memoryPool.js';

const SECRET = 'sk-planted-5ecret';

/** Lines of a pino that no one has told how to write errors. */
function plainPino() {
  const lines: string[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(...chunk.toString().trim().split('\n'));
      done();
    },
  });
  const logger = pino({ level: 'trace', base: null }, stream);
  return { logger, lines, events: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

let log: EventLog | undefined;
afterEach(() => log?.close());

test('one line an event, one request id through all of a request, errors with message, code and cause', async () => {
  const { pool, connector, call } = memoryPool({ backoff: { initialMs: 1, jitterRatio: 0 }, stableAfterMs: 0 });
  pool.addServer(MEMORY);
  const { logger, events, lines } = plainPino();
  log = new EventLog({ pool, logger });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const client = new RawClient(`${(await gateway.listen()).url}/servers/s/mcp`);
  await client.initialize();
  lines.length = 0;
  await client.call('tools/call', { name: 'add', arguments: { a: 1 } });
  const of = events();
  expect(of.map(({ event }) => event)).toEqual(['call.sent', 'call.done', 'request.done']);
  expect(new Set(of.map(({ requestId }) => requestId)).size).toBe(1);
  expect(of[0]?.['requestId']).toMatch(/^\w+-\w+$/);
  expect(of[1]).toMatchObject({ server: 's', method: 'tools/call', tool: 'add', attempt: 1, outcome: 'ok', level: 20 });
  lines.length = 0;
  let dead = false;
  connector.onMessage = ({ id }, connection) => {
    if (!dead) connection.die('it crashed');
    else connection.answer(id as number, {});
    dead = true;
  };
  await call('add', { idempotent: true });
  const retried = events().find(({ event }) => event === 'call.retried');
  expect(retried).toMatchObject({ level: 40, error: { name: 'OutcomeUnknownError', code: 'ERR_OUTCOME_UNKNOWN' } });
  expect(events().map(({ event }) => event)).toEqual(
    expect.arrayContaining(['server.exited', 'server.restarted', 'call.retried', 'call.done']),
  );
  lines.length = 0;
  connector.onStart = () => Promise.reject(new Error('no route', { cause: new TypeError('bad address') }));
  connector.last.die('again');
  await outcome(call('add'));
  const failed = events().find(({ event }) => event === 'call.failed');
  expect(failed).toMatchObject({ level: 40, error: { message: expect.stringContaining('no route') } });
  expect(JSON.stringify(failed)).toContain('bad address');
  const known: readonly unknown[] = LOG_EVENTS;
  expect(events().filter(({ event }) => !known.includes(event))).toEqual([]);
});

test('planted secrets are in no line: arguments, results, headers, environment, principals, contexts, URIs', async () => {
  const { pool, connector } = memoryPool();
  pool.addServer({ ...MEMORY, env: { TOKEN: SECRET } });
  const { logger, lines } = plainPino();
  log = new EventLog({ pool, logger });
  const principals: unknown[] = [];
  pool.on('started', ({ principal }) => principals.push(principal));
  const caller = { principal: `p-${SECRET}`, key: `k-${SECRET}`, context: { token: SECRET } };
  connector.onMessage = ({ id, params }, connection) => {
    if (params?.['name'] === 'refuse')
      connection.say({ id, error: { code: -1, message: 'no', data: { token: SECRET } } });
    else connection.answer(id as number, { content: [{ type: 'text', text: SECRET }] });
  };
  const meta = { traceparent: SECRET, progressToken: SECRET };
  await pool.request('s', 'tools/call', { name: 'add', arguments: { token: SECRET }, _meta: meta }, { caller });
  await outcome(pool.request('s', 'tools/call', { name: 'refuse', arguments: { token: SECRET } }, { caller }));
  await pool.request('s', 'resources/read', { uri: `https://user:${SECRET}@example.com/?sig=${SECRET}` }, { caller });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const client = new RawClient(`${(await gateway.listen()).url}/servers/s/mcp`);
  await client.initialize();
  await client.send(
    { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'add', arguments: { token: SECRET } } },
    { authorization: `Bearer ${SECRET}`, cookie: SECRET, traceparent: SECRET },
  );
  await pool.stopServer('s');
  // Those who listen to the pool are told whose a connection is.
  expect(principals).toEqual([caller.principal, undefined]);
  expect(lines.length).toBeGreaterThan(10);
  expect(lines.filter((line) => line.includes(SECRET))).toEqual([]);
  expect(lines.filter((line) => line.includes(client.sessionId))).toEqual([]);
});

test('texts that a client or a server makes up are cut in every line', async () => {
  const { pool, connector } = memoryPool();
  pool.addServer(MEMORY);
  const { logger, lines } = plainPino();
  log = new EventLog({ pool, logger });
  const long = 'm'.repeat(100_000);
  connector.onMessage = ({ id, method }, connection) => {
    if (method === 'resources/read') connection.die(long);
    else if (method === 'tools/call') connection.say({ id, error: { code: -1, message: long, data: long } });
    else connection.answer(id as number, {});
  };
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const client = new RawClient(`${(await gateway.listen()).url}/servers/s/mcp`);
  await client.initialize();
  await client.call(`x/${long}`);
  await client.call('tools/call', { name: long });
  await client.call('resources/read', { uri: long });
  const events = ['call.failed', 'request.failed', 'server.exited'];
  for (const event of events)
    expect(lines.some((line) => line.includes(`"${event}"`) && line.includes('mmm'))).toBe(true);
  expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(6_000);
});

test('a breaker of one principal says nothing of whose it is, in no line and no error', async () => {
  const { pool, connector } = memoryPool({ breakerScope: 'principal', breakerThreshold: 1 });
  pool.addServer(MEMORY);
  const { logger, events, lines } = plainPino();
  log = new EventLog({ pool, logger });
  connector.onMessage = (_message, connection) => connection.die('it crashed');
  const call = () =>
    outcome(pool.request('s', 'tools/call', { name: 'add' }, { caller: { principal: `p-${SECRET}` } }));
  await call();
  await expect(
    pool.request('s', 'tools/call', { name: 'add' }, { caller: { principal: `p-${SECRET}` } }),
  ).rejects.toMatchObject({ code: 'ERR_CIRCUIT_OPEN', server: 's' });
  expect(events().map(({ error }) => (error as { code?: string } | undefined)?.code)).toContain('ERR_CIRCUIT_OPEN');
  expect(events().find(({ event }) => event === 'breaker.changed')).toMatchObject({ scope: 'principal' });
  expect(lines.filter((line) => line.includes(SECRET))).toEqual([]);
});

test('names that try to be lines are one line; a logger that throws disturbs no call; options are checked', async () => {
  const { pool } = memoryPool();
  pool.addServer(MEMORY);
  const { logger, lines } = plainPino();
  log = new EventLog({ pool, logger, successes: false });
  await outcome(pool.request('s', 'tools/call', { name: 'refuse' }));
  await pool.request('s', 'tools/call', { name: 'x"\n{"event":"server.exited"}\u001b[31m' });
  expect(lines.every((line) => JSON.parse(line))).toBe(true);
  expect(lines.filter((line) => line.startsWith('{"event"'))).toEqual([]);
  expect(lines.some((line) => line.includes('call.done'))).toBe(false);
  log.close();
  const thrower = (): never => {
    throw new Error('disk full');
  };
  log = new EventLog({
    pool,
    logger: { trace: thrower, debug: thrower, info: thrower, warn: thrower, error: thrower },
  });
  expect(await pool.request('s', 'tools/call', { name: 'echo' })).toMatchObject({ name: 'echo' });
  expect(() => new EventLog({ pool, logger, success: true } as never)).toThrow(OptionError);
  expect(() => new EventLog({ pool } as never)).toThrow(/logger/);
});
