import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { expect, test } from 'vitest';
import { RateLimiter } from '../../../src/concurrent/limiter/RateLimiter.js';
import { OptionError } from '../../../src/core/errors.js';
import { StdioPool } from '../../../src/pool/StdioPool.js';
import { check } from '../../../src/testing/history/check.js';
import { History } from '../../../src/testing/history/History.js';
import type { HistoryEvent } from '../../../src/testing/history/HistoryEvent.js';
import { record } from '../../../src/testing/history/record/record.js';
import { recordLimiter } from '../../../src/testing/history/record/recordLimiter.js';
import type { RecordOptions } from '../../../src/testing/history/record/recordOptions.js';
import { closeAfter } from '../../support/closeAfter.js';
import { fixture } from '../../support/servers.js';
import { tempFolder } from '../../support/tempFolder.js';

/** A recorded pool over the stamping server, and what its history is once the pool is closed and the effects are in. */
async function recorded(options: RecordOptions & { readonly sharing?: 'shared' | 'leased' | 'bound' } = {}) {
  const effects = join(await tempFolder(), 'effects.jsonl');
  const history = new History();
  const { sharing = 'shared', ...own } = options;
  const pool = record(closeAfter(new StdioPool()), history, own);
  pool.addServer({
    name: 'stamping',
    transport: 'stdio',
    command: process.execPath,
    args: [fixture('stamping-server.mjs')],
    env: { EFFECTS: effects },
    sharing,
  });
  const tool = (name: string, args: object = {}, more: object = {}): Promise<unknown> =>
    pool.request('stamping', 'tools/call', { name, arguments: args }, more);
  const finish = async (): Promise<History> => {
    await pool.close();
    history.end();
    history.merge(await readFile(effects, 'utf8'));
    return history;
  };
  return { pool, tool, finish, history, effects };
}

const types = (history: History, call: string): string[] =>
  history.events.flatMap((event) =>
    'call' in event && event.call === call ? [event.type === 'effect' ? `effect ${event.phase}` : event.type] : [],
  );

const find = <T extends HistoryEvent['type']>(history: History, type: T): Extract<HistoryEvent, { type: T }> =>
  history.events.find((event) => event.type === type) as Extract<HistoryEvent, { type: T }>;

test('a typed call is written down as the request it is', async () => {
  const { pool, finish } = await recorded();
  const { content } = await pool.callTool('stamping', 'echo', { text: 'hello' });
  expect(content).toBeDefined();
  const history = await finish();
  expect(find(history, 'invoke')).toMatchObject({ method: 'tools/call', tool: 'echo' });
  expect(types(history, 'c1')).toEqual(['invoke', 'effect begin', 'effect end', 'answer']);
});

test('a pool is written down: calls, answers, progress, cancels, effects and the close', async () => {
  const { tool, finish } = await recorded({ withinMs: 60_000 });
  await tool('echo', { text: 'hello' }, { caller: { principal: 'alice', key: 'k' }, idempotent: true });
  await tool('progress', {}, { onProgress: () => undefined });
  const controller = new AbortController();
  const slow = tool('slow', { ms: 60_000 }, { signal: controller.signal });
  await tool('echo');
  controller.abort();
  await expect(slow).rejects.toBe(controller.signal.reason);
  await tool('echo');
  const history = await finish();
  expect(find(history, 'invoke')).toMatchObject({
    call: 'c1',
    part: 'pool',
    server: 'stamping',
    method: 'tools/call',
    tool: 'echo',
    principal: 'alice',
    session: 'k',
    idempotent: true,
    withinMs: 60_000,
  });
  expect(types(history, 'c1')).toEqual(['invoke', 'effect begin', 'effect end', 'answer']);
  expect(types(history, 'c2').filter((type) => !type.startsWith('effect'))).toEqual([
    'invoke',
    'progress',
    'progress',
    'answer',
  ]);
  expect(types(history, 'c3').toSorted()).toEqual(['cancel', 'effect begin', 'effect cancelled', 'failure', 'invoke']);
  expect(history.events.slice(-3).map(({ type }) => type)).toEqual(['close', 'closed', 'end']);
  expect(String(check(history))).toMatch(/^not guilty: 5 calls: 4 answers, 1 failures, 1 cancelled; 5 effects/);
});

test('an answer made for another call, and an effect that came twice, are seen at a real server', async () => {
  const { tool, finish } = await recorded();
  await tool('wrong');
  await tool('twice');
  const { violations } = check(await finish());
  expect(violations.map(({ rule, call }) => [rule, call])).toEqual([
    ['wrong-receiver', 'c1'],
    ['repeated-effect', 'c2'],
  ]);
});

test('what a server says is written down with the call, or with the session it reached', async () => {
  const { pool, tool, finish, history } = await recorded({ sharing: 'bound' });
  const caller = { principal: 'alice', key: 'k' };
  pool.on('notification', () => undefined);
  await tool('tell', {}, { caller });
  await tool('tell', {}, { caller, onNotification: () => undefined });
  const heard = history.events.filter(({ type }) => type === 'notification');
  expect(heard).toMatchObject([
    { principal: 'alice', session: 'k', of: 'c1' },
    { call: 'c2', of: 'c2' },
  ]);
  expect(check(await finish()).ok).toBe(true);
});

test('calls on a lease are written down too, with the principal that leased', async () => {
  const { pool, finish, history } = await recorded({ sharing: 'leased' });
  const lease = await pool.lease('stamping', { caller: { principal: 'alice' } });
  await lease.request('tools/call', { name: 'echo' });
  lease.release();
  expect(find(history, 'invoke')).toMatchObject({ principal: 'alice', tool: 'echo' });
  expect(check(await finish()).ok).toBe(true);
});

test('without stamps a call is sent as it is', async () => {
  const { tool, effects, finish } = await recorded({ stamp: false });
  expect(await tool('echo', { text: 'as it is' })).toEqual({
    content: [{ type: 'text', text: 'as it is' }],
    _meta: {},
  });
  expect(await readFile(effects, 'utf8')).not.toContain('"call"');
  expect(check(await finish()).ok).toBe(true);
});

test('a process that outlives the close is written down as alive', async () => {
  const { pool, tool, history } = await recorded();
  await tool('child');
  // A pool that forgets its group: the helper of the server stays.
  const target = { ...pool, close: async () => undefined, on: pool.on, listAll: pool.listAll, request: pool.request };
  const forgetful = record(target as unknown as StdioPool, history, { part: 'forgetful' });
  const [pid = 0] = pool.stats('stamping').pids;
  expect(pid).toBeGreaterThan(0);
  forgetful.on('started', () => undefined);
  await pool.restartServer('stamping');
  await forgetful.close();
  expect(check(history).violations).toMatchObject([{ rule: 'alive-after-close', message: /node.*stamping-server/ }]);
});

test('an MCP client of the SDK is written down', async () => {
  const effects = join(await tempFolder(), 'effects.jsonl');
  const history = new History();
  const client = record(new Client({ name: 'test', version: '1' }), history, { principal: 'alice', session: 's1' });
  await client.connect(
    new StdioClientTransport({
      command: process.execPath,
      args: [fixture('stamping-server.mjs')],
      env: { EFFECTS: effects },
    }),
  );
  const progress: number[] = [];
  const onprogress = (each: { readonly progress: number }): void => {
    progress.push(each.progress);
    void client.ping();
  };
  await client.callTool({ name: 'pinged' }, undefined, { onprogress });
  await expect(client.callTool({ name: 'wrong' })).resolves.toBeDefined();
  await client.close();
  history.end();
  history.merge(await readFile(effects, 'utf8'));
  expect(progress).toEqual([1]);
  expect(find(history, 'invoke')).toMatchObject({
    part: 'client',
    principal: 'alice',
    session: 's1',
    tool: 'pinged',
  });
  expect(find(history, 'progress')).toMatchObject({ call: 'c1', progress: 1 });
  expect(check(history).violations.map(({ rule, call }) => [rule, call])).toEqual([['wrong-receiver', 'c2']]);
});

test('the permits of a limiter are written down, and one too many is found', async () => {
  const history = new History();
  const bound = { limit: 'rate', max: 2, windowMs: 60_000 };
  const limiter = closeAfter(new RateLimiter({ maxRequests: 2, windowMs: 60_000 }));
  const followed = recordLimiter(limiter, history, bound);
  expect([followed.tryAcquire(), followed.for({ server: 's' })?.tryAcquire(), followed.tryAcquire()]).toEqual([
    true,
    true,
    false,
  ]);
  expect(history.events.map(({ type }) => type)).toEqual(['limit', 'permit', 'permit']);
  expect(check(history).ok).toBe(true);
  const broken = recordLimiter({ tryAcquire: () => true, acquire: async () => undefined }, history, bound);
  broken.tryAcquire();
  expect(check(history).violations.map(({ rule }) => rule)).toEqual(['limit']);
});

test('what cannot be recorded, and an option that does not exist, are refused by name', () => {
  expect(() => record({} as StdioPool, new History())).toThrow(OptionError);
  const pool = closeAfter(new StdioPool());
  expect(() => record(pool, new History(), { stmp: true } as RecordOptions)).toThrow(/did you mean 'stamp'/);
  expect(() => record(pool, new History(), { withinMs: -1 })).toThrow(/withinMs/);
});
