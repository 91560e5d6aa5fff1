import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { UnifiedPool } from '../../../src/pool/index.js';
import { Cli, MAIN, run } from '../../support/cli.js';
import { closeAfter } from '../../support/closeAfter.js';
import { effectsIn, eventsIn } from '../../support/faultRuns.js';
import { outcome } from '../../support/memoryPool.js';
import { fixture } from '../../support/servers.js';
import { stdioPool, tool } from '../../support/stdioPool.js';
import { tempFolder } from '../../support/tempFolder.js';

// Programs start here, one after another, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

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
  expect(stderr).toMatch(/^mcp-poolkit: .*rules\[0\]\.nth/);
});

test('fake-server serves its default tools over stdio', async () => {
  const pool = stdioPool();
  pool.addServer({ name: 'echo', transport: 'stdio', command: process.execPath, args: [MAIN, 'fake-server'] });
  expect(await tool(pool, 'echo', { text: 'hi' })).toBe('hi');
});

test('fake-server and fault by URL: one chain of a server, a proxy of its calls and a proxy of its bytes, which end by SIGTERM', async () => {
  const folder = tempFolder();
  const plan = (name: string, rules: object[]): string => {
    const file = join(folder, name);
    writeFileSync(file, JSON.stringify({ seed: 9, rules }));
    return file;
  };
  const events = join(folder, 'events.jsonl');
  const started = async (pattern: RegExp, ...args: string[]) => {
    const cli = closeAfter(new Cli(...args));
    return { cli, url: (await cli.line(pattern))[1] ?? '' };
  };
  const server = await started(/^HTTP\+SSE: (http.*)$/, 'fake-server', '--port', '0');
  const rules = [{ tool: 'echo', nth: 2, fault: 'error', code: -32001 }];
  const calls = ['fault', '--plan', plan('calls', rules), '--events', events, '--upstream', server.url];
  const proxy = await started(/^(http\S+) -> /, ...calls);
  const { host, pathname } = new URL(proxy.url);
  const bytes = ['fault', '--plan', plan('bytes', [{ fault: 'latency', delayMs: 1 }]), '--upstream', `tcp://${host}`];
  const tcp = await started(/^tcp:(\S+) -> /, ...bytes);
  const pool = closeAfter(new UnifiedPool());
  pool.addServer({ name: 'echo', transport: 'sse', url: `http:${tcp.url}${pathname}` });
  expect(await tool(pool, 'echo', { text: 'a' })).toBe('a');
  expect(await outcome(tool(pool, 'echo', { text: 'b' }))).toBe('ERR_RPC');
  expect(await tool(pool, 'echo', { text: 'c' })).toBe('c');
  const told = eventsIn(events);
  expect(told.filter(({ type }) => type === 'fault')).toMatchObject([{ fault: 'error', rule: 0, tool: 'echo' }]);
  expect(effectsIn(told)).toHaveLength(2);
  await pool.close();
  for (const { cli } of [tcp, proxy, server]) cli.kill('SIGTERM');
  expect(await Promise.all([tcp, proxy, server].map(({ cli }) => cli.exited))).toMatchObject([
    { code: 0 },
    { code: 0 },
    { code: 0 },
  ]);
  expect(proxy.cli.stderr).toMatch(/FaultPlan seed 9 .*injected: error 1.*replay: new FaultPlan/);
});

test('fault wants a command or a URL, and not both', async () => {
  const file = join(tempFolder(), 'plan.json');
  writeFileSync(file, '{}');
  const both = ['--upstream', 'http://127.0.0.1:1', '--', process.execPath];
  const outcomes = await Promise.all([
    run('fault', '--plan', file),
    run('fault', '--plan', file, ...both),
    run('fault', '--plan', file, '--upstream', 'ftp://127.0.0.1:1'),
  ]);
  expect(outcomes.map(({ code, stderr }) => [code, stderr.split('\n')[0]])).toEqual([
    [1, expect.stringMatching(/^mcp-poolkit: .*--upstream.*a URL, or a command/)],
    [1, expect.stringMatching(/^mcp-poolkit: .*--upstream.*nothing beside a command/)],
    [1, expect.stringMatching(/^mcp-poolkit: .*upstream.*tcp:/)],
  ]);
});
