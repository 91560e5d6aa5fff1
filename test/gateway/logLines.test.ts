import { expect, test } from 'vitest';
import { RpcError } from '../../src/core/errors.js';
import { limitedLogger } from '../../src/core/limitedLogger.js';
import { silentLogger } from '../../src/core/logger.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../src/gateway/GatewayOptions.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';
import { exchange, RawClient } from '../support/httpClient.js';

/** What clients and servers cause is told 20 times in ten seconds, and then how often more it was. */

const TIMES = 60;

function keptLines() {
  const lines: string[] = [];
  const keep = (fields: object | string, message?: string): void =>
    void lines.push(typeof fields === 'string' ? fields : `${message} ${JSON.stringify(fields)}`);
  const told = (message: string): number => lines.filter((line) => line.startsWith(message)).length;
  return { lines, told, logger: { ...silentLogger, warn: keep, error: keep } };
}

async function serve(options: Partial<GatewayOptions> = {}) {
  const { lines, told, logger } = keptLines();
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer({ name: 'dead', transport: 'stdio', command: `no-such-${'program'}` });
  const clock = new FakeClock();
  const gateway = closeAfter(new Gateway({ pool, port: 0, clock, logger, ...options }));
  const { url } = await gateway.listen();
  return { url, lines, told, clock };
}

const handshake = (url: string): Promise<unknown> => {
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } };
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  return exchange(url, { headers, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params }) });
};

test('a server that is down: its lists and handshakes, asked for again and again', async () => {
  const { url, lines, told, clock } = await serve();
  const client = new RawClient(`${url}/mcp`);
  await client.initialize();
  for (let i = 0; i < TIMES; i++) {
    await client.call('tools/list');
    await handshake(`${url}/servers/dead/mcp`);
  }
  const kinds = ['a server could not be listed', 'a server did not start'];
  for (const kind of kinds) expect(told(kind), kind).toBeLessThanOrEqual(20);
  await clock.advance(10_000);
  await client.call('tools/list');
  await handshake(`${url}/servers/dead/mcp`);
  expect(lines.filter((line) => /"dropped":\d+/.test(line)).length).toBeGreaterThan(0);
});

test('an `authenticate` that fails, for strangers', async () => {
  const authenticate = async (): Promise<never> => Promise.reject(new Error('the keys cannot be had'));
  const { url, told } = await serve({ authenticate });
  for (let i = 0; i < TIMES; i++) await handshake(`${url}/mcp`);
  expect(told('a request failed in an unexpected way')).toBe(20);
});

/** Sends so many log messages with each answer. */
const TALKATIVE = `
  require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const { id, method, params } = JSON.parse(line);
    if (id === undefined) return;
    const say = (message) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\\n');
    if (method === 'initialize')
      return say({ id, result: { protocolVersion: params.protocolVersion, capabilities: { logging: {}, tools: {} }, serverInfo: { name: 'x', version: '1' } } });
    if (method !== 'tools/call') return say({ id, error: { code: -32601, message: 'Method not found' } });
    for (let i = 0; i < ${TIMES}; i++) say({ method: 'notifications/message', params: { level: 'info', data: i } });
    say({ id, result: { content: [] } });
  });`;

test('middleware that refuses what a server says, again and again', async () => {
  const { told, logger } = keptLines();
  const pool = closeAfter(new UnifiedPool({ ledger: false, logger }));
  pool.addServer({
    name: 'talk',
    transport: 'stdio',
    command: process.execPath,
    args: ['-e', TALKATIVE],
    era: 'legacy',
  });
  let refused = 0;
  pool.use(async ({ kind }, next) => {
    if (kind !== 'notification') return next();
    refused++;
    throw new Error('refused');
  });
  await pool.callTool('talk', 'x', {}, { onNotification: () => undefined });
  await expect.poll(() => refused).toBe(TIMES);
  expect(told('middleware failed at a notification')).toBe(20);
});

test('of a text of megabytes that a server writes the log has the beginning', async () => {
  const { lines, told, logger } = keptLines();
  const tasks = { list: {} };
  const fail = () => Promise.reject(new RpcError('one', -32_000, `no: ${'x'.repeat(1_000_000)}`));
  const pool = new FakePool({ one: { capabilities: { tasks }, methods: { 'tasks/list': fail } } });
  const gateway = closeAfter(new Gateway({ pool, port: 0, logger }));
  const client = new RawClient(`${(await gateway.listen()).url}/mcp`);
  await client.initialize();
  expect((await client.call('tasks/list')).result).toEqual({ tasks: [] });
  expect(told('the tasks of a server could not be listed')).toBe(1);
  expect(lines.join().length).toBeLessThan(10_000);
  const error = new RpcError('one', -32_000, 'x'.repeat(1_000_000), { x: 'x'.repeat(1_000_000) });
  limitedLogger(logger, () => 0).error({ error, server: 'one' }, 'odd');
  expect(lines.join().length).toBeLessThan(10_000);
});
