import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ServerNotFoundError, ServerStoppedError } from '../../src/core/errors.js';
import { LifecycleManager } from '../../src/registry/lifecycle/LifecycleManager.js';
import { closeAfter } from '../support/closeAfter.js';
import { everything } from '../support/everything.js';
import { examples, filesystem, memory } from '../support/servers.js';
import { echo, said, stdioPool, tool } from '../support/stdioPool.js';

test('three real servers start, list their tools and answer', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'poolkit-'));
  const pool = stdioPool();
  const report = await pool.startAll([everything(), filesystem(examples), memory(join(folder, 'memory.json'))]);
  expect(report).toEqual({ started: expect.arrayContaining(['everything', 'filesystem', 'memory']), failed: [] });
  expect((await pool.listAll('everything', 'tools')).items.map(({ name }) => name)).toContain('echo');
  expect((await pool.listAll('filesystem', 'tools')).items.length).toBeGreaterThan(5);
  await pool.request('memory', 'tools/call', {
    name: 'create_entities',
    arguments: { entities: [{ name: 'pool', entityType: 'thing', observations: ['it works'] }] },
  });
  expect(await said(pool.request('memory', 'tools/call', { name: 'read_graph', arguments: {} }))).toContain('it works');
  expect(pool.servers().map((name) => pool.state(name))).toEqual(['ready', 'ready', 'ready']);
  await pool.close();
  rmSync(folder, { recursive: true });
});

test('a thousand concurrent first calls start one process and each get their own answer', async () => {
  const pool = stdioPool();
  pool.addServer(echo());
  const texts = Array.from({ length: 1_000 }, (_, i) => `text ${i}`);
  expect(await Promise.all(texts.map((text) => tool(pool, 'echo', { text })))).toEqual(texts);
  expect(pool.stats('echo')).toMatchObject({ state: 'ready', connections: 1, restarts: 0, calls: 1_001 });
});

test('an unknown server is named, with those that are close', async () => {
  const pool = stdioPool();
  pool.addServer(echo());
  const failure = await pool.request('ecko', 'ping').catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(ServerNotFoundError);
  expect(failure).toMatchObject({ near: ['echo'] });
});

test('a stopped server refuses calls until it is started again', async () => {
  const pool = stdioPool();
  await pool.startServer(echo());
  await pool.stopServer('echo');
  expect(pool.state('echo')).toBe('stopped');
  await expect(tool(pool, 'echo', { text: 'a' })).rejects.toThrow(ServerStoppedError);
  await pool.startServer('echo');
  expect(await tool(pool, 'echo', { text: 'a' })).toBe('a');
});

test('after a crash the next call starts the server again', async () => {
  const pool = stdioPool();
  pool.addServer(echo());
  const first = JSON.parse(await tool(pool, 'calls')) as { pid: number };
  await expect(tool(pool, 'exit')).rejects.toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' });
  const second = JSON.parse(await tool(pool, 'calls')) as { pid: number };
  expect(second.pid).not.toBe(first.pid);
  expect(pool.stats('echo')).toMatchObject({ restarts: 1, errors: { ERR_OUTCOME_UNKNOWN: 1 } });
});

test('a start that is given up before its process is there starts none', async () => {
  const lifecycle = closeAfter(new LifecycleManager({ ledger: false }));
  const pool = stdioPool({ lifecycle });
  pool.addServer(echo([], { sharing: 'bound' }));
  const told: string[] = [];
  let released: Promise<void> | undefined;
  lifecycle.on('started', () => told.push('started'));
  lifecycle.on('starting', () => {
    told.push('starting');
    released ??= pool.releaseKey('echo', 'k');
  });
  // The call itself goes on with a connection made anew.
  await pool.request('echo', 'ping', {}, { caller: { key: 'k' } });
  await released;
  expect(told).toEqual(['starting', 'starting', 'started']);
});
