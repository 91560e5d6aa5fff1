// A chaos test of a pool, with `node --test examples/proxy-chaos.test.mjs`: docs/testing.md goes through it line by line.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { StdioPool } from 'mcp-poolkit/pool';
import { check, FaultPlan, fakeServerCommand, History, record } from 'mcp-poolkit/testing';

test('no call is lost, repeated or leaked while the server crashes', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'chaos-'));
  const eventsFile = join(folder, 'events.jsonl');
  const plan = new FaultPlan({ seed: 7, rules: [{ tool: 'echo', every: 5, fault: 'crash' }] });
  const server = fakeServerCommand({ name: 'files', plan, eventsFile, stateFile: join(folder, 'state.json') });

  const history = new History();
  const pool = record(new StdioPool({ backoff: { initialMs: 10, maxMs: 50 }, stableAfterMs: 0 }), history);
  pool.addServer({ name: 'files', transport: 'stdio', maxConnections: 1, ...server });
  const users = ['alice', 'bob'].map(async (principal) => {
    for (let call = 0; call < 20; call++) {
      const args = { text: `${principal} ${call}` };
      await pool.callTool('files', 'echo', args, { caller: { principal } }).catch((error) => error);
    }
  });
  await Promise.all(users);
  await pool.close();
  history.end();
  history.merge(await readFile(eventsFile, 'utf8'));
  await rm(folder, { recursive: true });

  const verdict = check(history, { label: 'seed 7' });
  console.log(String(verdict));
  verdict.assert();
});
