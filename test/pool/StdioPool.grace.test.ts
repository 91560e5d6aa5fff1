import { expect, test } from 'vitest';
import { StdioPool } from '../../src/pool/StdioPool.js';
import { isAlive } from '../support/processes.js';

const DEAF = `
  process.on('SIGTERM', () => {});
  setInterval(() => {}, 1000);
  require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const { id, method, params } = JSON.parse(line);
    if (method === 'initialize') console.log(JSON.stringify({ jsonrpc: '2.0', id, result: { protocolVersion: params.protocolVersion, capabilities: {}, serverInfo: { name: 's', version: '1' } } }));
  });`;

/** Graces so long that a polite stop would run into the test's own limit. */
const SLOW = { stdinGraceMs: 60_000, termGraceMs: 60_000 };

async function start(): Promise<{ pool: StdioPool; pid: number }> {
  const pool = new StdioPool({ ledger: false, ...SLOW });
  await pool.startServer({ name: 's', transport: 'stdio', command: process.execPath, args: ['-e', DEAF] });
  return { pool, pid: pool.stats('s').pids[0] as number };
}

test('close without grace kills a server that ignores everything, and proves it', async () => {
  const { pool, pid } = await start();
  await pool.close({ graceMs: 0 });
  expect(isAlive(pid)).toBe(false);
});

test('a close under way is hurried by one without grace', async () => {
  const { pool, pid } = await start();
  const closing = pool.close({ graceMs: 5_000 });
  await new Promise((done) => setTimeout(done, 100));
  expect(isAlive(pid)).toBe(true);
  expect(pool.close({ graceMs: 0 })).toBe(closing);
  await closing;
  expect(isAlive(pid)).toBe(false);
});
