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
  pool.addServer({ name: 'files', transport: 'stdio', ...server });
  const calls = Array.from({ length: 40 }, (_, index) =>
    pool
      .callTool('files', 'echo', { text: `call ${index}` }, { caller: { principal: index % 2 ? 'alice' : 'bob' } })
      .catch((error) => error),
  );
  await Promise.all(calls);
  await pool.close();
  history.end();
  history.merge(await readFile(eventsFile, 'utf8'));
  await rm(folder, { recursive: true });

  const verdict = check(history, { label: 'seed 7' });
  console.log(String(verdict));
  verdict.assert();
});
