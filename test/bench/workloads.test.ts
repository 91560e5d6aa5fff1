import { readdirSync, readFileSync } from 'node:fs';
import { type BenchOptions, parseTarget, ReferenceServer, runBench, type StepResult } from 'mcp-poolkit/bench';
import { OptionError } from 'mcp-poolkit/errors';
import { expect, test } from 'vitest';
import { closeHttpServer } from '../../src/shutdown/closeHttpServer.js';
import { EVERYTHING } from '../support/everything.js';

const everything = `"${process.execPath}" "${EVERYTHING}"`;

async function step(text: string, options: Omit<BenchOptions, 'targets'>): Promise<StepResult> {
  const target = await parseTarget(text);
  const report = await runBench({ targets: [target], durationMs: 500, warmupMs: 0, concurrency: [2], ...options });
  return report.steps[0] as StepResult;
}

test('progress: each call has its notifications, in order and before its answer', async () => {
  const args = { duration: 0.1, steps: 4 };
  const workload = { kind: 'progress', tool: 'trigger-long-running-operation', args } as const;
  const { all } = await step(everything, { workloads: [workload] });
  expect(all.errors).toEqual({});
  expect(all.calls).toBeGreaterThan(1);
  // Calls in flight at the end may have had a part of theirs.
  expect(all.events).toBeGreaterThanOrEqual(4 * all.calls);
});

test('a tool that sends no progress is wrong for the progress workload', async () => {
  const { all } = await step('reference', { workloads: [{ kind: 'progress' }], durationMs: 100 });
  expect(all.calls).toBe(0);
  expect(all.errors['WRONG_ANSWER']).toBeGreaterThan(1);
});

test.each(['lists', 'cold'] as const)('%s runs against a real server without an error', async (kind) => {
  const { all } = await step(everything, { workloads: [{ kind }], durationMs: 100 });
  expect(all.errors).toEqual({});
  expect(all.calls).toBeGreaterThan(0);
});

test.each(['stdio', 'HTTP'])('payloads of 1 KB to 50 MB go both ways over %s', { timeout: 90_000 }, async (wire) => {
  const server = wire === 'HTTP' ? await new ReferenceServer().serveHttp() : undefined;
  try {
    const port = (server?.address() as { port: number } | undefined)?.port;
    const text = port === undefined ? 'reference' : `http://127.0.0.1:${port}/mcp`;
    for (const bytes of [1_000, 1_000_000, 50_000_000]) {
      const workloads = [{ kind: 'payload', bytes }] as const;
      // A busy machine takes long for one call of the largest, which is waited for.
      const { all } = await step(text, { workloads, concurrency: [1], durationMs: 100, drainMs: 60_000 });
      expect(all.errors, `${bytes} bytes`).toEqual({});
      expect(all.calls).toBeGreaterThan(0);
    }
  } finally {
    if (server !== undefined) await closeHttpServer(server, { graceMs: 0 });
  }
});

test('what a call takes beyond the service time of the reference server stands apart', async () => {
  const { all } = await step('reference:fixed:5', {});
  const { latencyMs, beyondServiceMs } = all;
  expect(all.calls).toBeGreaterThan(10);
  for (const figure of ['min', 'p50', 'p99'] as const) {
    expect(latencyMs?.[figure]).toBeGreaterThanOrEqual(5);
    expect(beyondServiceMs?.[figure]).toBeGreaterThan(0);
    // Call by call the server took its 5 ms; histograms keep three digits.
    expect(beyondServiceMs?.[figure]).toBeLessThanOrEqual((latencyMs?.[figure] ?? 0) * 1.002 - 5 + 0.01);
  }
  expect((await step(everything, { durationMs: 100 })).all.beyondServiceMs).toBeUndefined();
});

test.each(['fixed', 'fixed:x', 'fixed:-1', 'uniform:3:1', 'sometimes:2', 'none:1'])(
  'a service time of %s is refused',
  async (service) => {
    expect(() => new ReferenceServer(service)).toThrow(OptionError);
    await expect(parseTarget(`reference:${service}`)).rejects.toThrow(/uniform:MIN:MAX/);
  },
);

test('several load generators tell of their progress together', async () => {
  const target = await parseTarget('reference:fixed:20');
  const told: number[] = [];
  const report = await runBench({
    targets: [target],
    concurrency: [4],
    workers: 2,
    durationMs: 1_800,
    warmupMs: 0,
    onProgress: ({ all }) => told.push(all.calls),
  });
  const calls = report.steps[0]?.all.calls ?? 0;
  expect(told.length).toBeGreaterThan(1);
  expect(told.at(-1)).toBeGreaterThan(0);
  expect(Math.max(...told)).toBeLessThanOrEqual(calls);
});

test('what a listener throws once ends every generator of the run, and none outlives it', async () => {
  const fault = new Error('of a listener');
  let told = 0;
  const run = runBench({
    targets: [await parseTarget('reference')],
    concurrency: [2],
    workers: 2,
    durationMs: 60_000,
    warmupMs: 0,
    onProgress: () => {
      if (told++ === 0) throw fault;
    },
  });
  await expect(run).rejects.toBe(fault);
  const children = readdirSync('/proc/self/task').flatMap((task) =>
    readFileSync(`/proc/self/task/${task}/children`, 'utf8').split(' ').filter(Boolean),
  );
  const commands = children.map((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
  expect(commands.filter((command) => /load.worker\.js/.test(command))).toEqual([]);
});

test('the reference server answers odd messages and goes on', async () => {
  const server = await new ReferenceServer().serveHttp();
  try {
    const url = `http://127.0.0.1:${(server.address() as { port: number }).port}/mcp`;
    const post = async (body: string) => {
      const response = await fetch(url, { method: 'POST', body });
      return { status: response.status, text: await response.text() };
    };
    expect((await post('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":null}')).text).toMatch(/-32602/);
    expect((await post('{"jsonrpc":"2.0","id":1,"method":"initialize","params":null}')).text).toMatch(/serverInfo/);
    expect(await post('null')).toEqual({ status: 202, text: '' });
    expect((await post('{')).text).toMatch(/-32700/);
    const call = { name: 'echo', arguments: { text: 'x' } };
    expect((await post(JSON.stringify({ id: 2, method: 'tools/call', params: call }))).text).toMatch(/"text":"x"/);
  } finally {
    await closeHttpServer(server, { graceMs: 0 });
  }
});
