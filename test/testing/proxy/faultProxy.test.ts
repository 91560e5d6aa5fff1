import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MAIN, run } from '../../support/cli.js';
import { outcome } from '../../support/memoryPool.js';
import { fixture } from '../../support/servers.js';
import { stdioPool, tool } from '../../support/stdioPool.js';
import { tempFolder } from '../../support/tempFolder.js';

function behindProxy(plan: object) {
  const folder = tempFolder();
  const file = join(folder, 'plan.json');
  writeFileSync(file, JSON.stringify(plan));
  const pool = stdioPool({ stableAfterMs: 0, backoff: { initialMs: 1, maxMs: 1 } });
  const proxy = [MAIN, 'fault', '--plan', file, '--state', join(folder, 'state'), '--'];
  const args = [...proxy, process.execPath, fixture('echo-server.mjs')];
  pool.addServer({ name: 'echo', transport: 'stdio', command: process.execPath, args });
  return pool;
}

test('a proxy in front of any stdio server: faults happen there, all else passes as it came, and a restart goes on in the plan', async () => {
  const pool = behindProxy({
    rules: [
      { tool: 'echo', nth: 2, fault: 'crash' },
      { tool: 'echo', nth: 3, fault: 'error', code: -32001 },
    ],
  });
  expect(await tool(pool, 'echo', { text: 'grüße' })).toBe('grüße');
  expect(await outcome(tool(pool, 'echo', { text: 'b' }))).toBe('ERR_OUTCOME_UNKNOWN');
  expect(await outcome(tool(pool, 'echo', { text: 'c' }))).toBe('ERR_RPC');
  expect(await tool(pool, 'echo', { text: 'd' })).toBe('d');
  const raw = await pool.request('echo', 'tools/call', { name: 'big-integer', arguments: {} }, { raw: true });
  expect(Buffer.from(raw as Uint8Array).toString()).toContain('12345678901234567890');
});

test('a plan with a mistake is one line that says the place', async () => {
  const file = join(tempFolder(), 'plan.json');
  writeFileSync(file, JSON.stringify({ rules: [{ fault: 'crash', nth: 0 }] }));
  const { code, stderr } = await run('fault', '--plan', file, '--', process.execPath);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^error: .*rules\[0\]\.nth/);
});

test('fake-server serves its default tools over stdio', async () => {
  const pool = stdioPool();
  pool.addServer({ name: 'echo', transport: 'stdio', command: process.execPath, args: [MAIN, 'fake-server'] });
  expect(await tool(pool, 'echo', { text: 'hi' })).toBe('hi');
});
