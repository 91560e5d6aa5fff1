import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { StdioPool } from '../../src/pool/StdioPool.js';
import { LifecycleManager } from '../../src/registry/lifecycle/LifecycleManager.js';
import { closeAfter } from '../support/closeAfter.js';
import { outcome } from '../support/memoryPool.js';
import { fixture } from '../support/servers.js';
import { echo, stdioPool, tool } from '../support/stdioPool.js';
import { tempFolder } from '../support/tempFolder.js';

const FAST = { stdinGraceMs: 100, termGraceMs: 100 };
const pidOf = async (pool: StdioPool, options = {}): Promise<number> =>
  (JSON.parse(await tool(pool, 'calls', {}, options)) as { pid: number }).pid;
/** Whether a process is alive; a zombie is not. */
function alive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test('a program that is not there fails its first call with ENOENT in the cause, and is not tried again at once', async () => {
  const pool = stdioPool();
  let started = 0;
  pool.on('started', () => started++);
  pool.addServer(echo([], { command: '/nowhere/at/all' }));
  const failure = await tool(pool, 'echo').catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'ERR_START_FAILED', retryable: true });
  const causes: unknown[] = [];
  for (let at = failure as Error | undefined; at !== undefined; at = at.cause as Error | undefined) causes.push(at);
  expect(causes).toContainEqual(expect.objectContaining({ code: 'ENOENT' }));
  const storm = await Promise.all(Array.from({ length: 50 }, () => outcome(tool(pool, 'echo'))));
  expect(new Set(storm)).toEqual(new Set(['ERR_BACKING_OFF']));
  expect(pool.stats('echo')).toMatchObject({
    state: 'failed',
    calls: 0,
    errors: { ERR_START_FAILED: 1, ERR_BACKING_OFF: 50 },
    backoffMs: expect.any(Number),
  });
  expect(pool.stats('echo').lastError).toBeDefined();
  expect(started).toBe(0);
});

test('a server that exits at its start fails all who wait, once, with its code and last words', async () => {
  const pool = stdioPool();
  pool.addServer(echo(['--exit-at-start']));
  const failures = await Promise.all(
    Array.from({ length: 20 }, () => tool(pool, 'echo').catch((error: unknown) => error)),
  );
  for (const failure of failures) {
    expect(failure).toMatchObject({ code: 'ERR_START_FAILED', exitCode: 3, stderr: ['cannot start: no such luck'] });
  }
  await expect(pool.startServer('echo')).rejects.toMatchObject({ code: 'ERR_START_FAILED', exitCode: 3 });
});

test('a server that never answers initialize is ended at its start timeout', async () => {
  const pool = stdioPool({ ...FAST, startTimeoutMs: 200 });
  pool.addServer(echo(['--mute']));
  expect(await outcome(tool(pool, 'echo'))).toBe('ERR_START_FAILED');
  expect(pool.stats('echo')).toMatchObject({ state: 'failed', pids: [] });
});

test('backoff: after early deaths in a row calls are refused for a while, then one start is let through', async () => {
  const pool = stdioPool({ backoff: { initialMs: 1_000, jitterRatio: 0 } });
  pool.addServer(echo());
  for (let i = 0; i < 2; i++) expect(await outcome(tool(pool, 'exit'))).toBe('ERR_OUTCOME_UNKNOWN');
  const refusal = (await tool(pool, 'echo').catch((error: unknown) => error)) as { code: string; retryAfterMs: number };
  expect(refusal.code).toBe('ERR_BACKING_OFF');
  expect(pool.state('echo')).toBe('degraded');
  expect(pool.stats('echo').backoffMs).toBeLessThanOrEqual(1_000);
  await new Promise((resolve) => setTimeout(resolve, refusal.retryAfterMs + 2));
  expect(await tool(pool, 'echo', { text: 'back' })).toBe('back');
  expect(pool.stats('echo')).toMatchObject({ state: 'ready', restarts: 2, backoffMs: undefined });
});

test('a program that answers and exits with code 0 is started by each next call; one that fails so backs off', async () => {
  const pool = stdioPool({ backoff: { initialMs: 60_000, jitterRatio: 0 } });
  pool.addServer(echo());
  const answers = async (code: number): Promise<void> => {
    const exited = new Promise((resolve) => {
      pool.on('exited', resolve);
    });
    expect(await tool(pool, 'done', { code })).toBe('done');
    await exited;
  };
  for (let i = 0; i < 4; i++) await answers(0);
  expect(pool.stats('echo')).toMatchObject({ state: 'idle', restarts: 3 });
  for (let i = 0; i < 2; i++) await answers(1);
  expect(await outcome(tool(pool, 'echo'))).toBe('ERR_BACKING_OFF');
});

test('a process killed under load fails what was sent, as unknown, and the next calls find another', async () => {
  const pool = stdioPool({ stableAfterMs: 0 });
  const log = join(tempFolder(), 'log');
  pool.addServer(echo([`--log=${log}`]));
  const pid = await pidOf(pool);
  const exited = new Promise((resolve) => {
    pool.on('exited', resolve);
  });
  const calls = Array.from({ length: 300 }, (_, i) => outcome(tool(pool, 'sleep', { ms: 500, i })));
  const safe = Array.from({ length: 20 }, (_, i) =>
    outcome(tool(pool, 'sleep', { ms: 20, i: 1000 + i }, { idempotent: true })),
  );
  await outcome(tool(pool, 'echo', { text: 'queued behind' }, { acquireTimeoutMs: 1 }));
  await new Promise((resolve) => setTimeout(resolve, 30));
  process.kill(pid, 'SIGKILL');
  expect(await exited).toMatchObject({ server: 'echo', pid, signal: 'SIGKILL', expected: false });
  const results = await Promise.all(calls);
  expect(await Promise.all(safe)).toEqual(Array(20).fill('slept'));
  expect(new Set(results)).toEqual(new Set(['ERR_OUTCOME_UNKNOWN', 'slept']));
  // What was not marked as safe reached the two processes once at the most.
  const ran = readFileSync(log, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('sleep {"ms":500'));
  expect(new Set(ran).size).toBe(ran.length);
  expect(await pidOf(pool)).not.toBe(pid);
  expect(pool.stats('echo').restarts).toBe(1);
});

test('two principals never share a process, and each has its own environment', async () => {
  const pool = stdioPool({ credentials: async ({ caller }) => ({ env: { TOKEN: `of ${caller?.principal}` } }) });
  pool.addServer(echo());
  const seen = new Map<string, { pid: number; env: string }>();
  for (const principal of ['a', 'b', 'a', 'b']) {
    const said = JSON.parse(await tool(pool, 'calls', { env: 'TOKEN' }, { caller: { principal } })) as never;
    const { pid, env } = said as { pid: number; env: string };
    if (seen.has(principal)) expect(seen.get(principal)).toEqual({ pid, env });
    else seen.set(principal, { pid, env });
  }
  expect([...seen.values()].map(({ env }) => env)).toEqual(['of a', 'of b']);
  expect(new Set([...seen.values()].map(({ pid }) => pid)).size).toBe(2);
  expect(pool.stats('echo').pids.length).toBe(2);
});

test('servers that ignore SIGTERM, or the end of their input, or both, are dead when close resolves', async () => {
  const pool = stdioPool(FAST);
  const flags = [['--ignore-term'], ['--ignore-eof'], ['--ignore-term', '--ignore-eof']];
  const pids: number[] = [];
  for (const [i, each] of flags.entries()) {
    await pool.startServer({ ...echo(each), name: `s${i}` });
    pids.push(...pool.stats(`s${i}`).pids);
  }
  expect(pids.map(alive)).toEqual([true, true, true]);
  await pool.close();
  expect(pids.map(alive)).toEqual([false, false, false]);
});

test('closed while starting: who waits is refused, nothing is left', async () => {
  const pool = stdioPool(FAST);
  pool.addServer(echo(['--start-delay=60000']));
  const waiting = [outcome(tool(pool, 'echo')), outcome(pool.startServer('echo'))];
  await new Promise((resolve) => setTimeout(resolve, 50));
  await pool.close();
  expect(await Promise.all(waiting)).toEqual(['ERR_CLOSED', 'ERR_CLOSED']);
  expect(await outcome(tool(pool, 'echo'))).toBe('ERR_CLOSED');
});

test('stopped while starting: the start fails at once, and calls say so', async () => {
  const pool = stdioPool(FAST);
  pool.addServer(echo(['--start-delay=60000']));
  const starting = outcome(pool.startServer('echo'));
  const call = outcome(tool(pool, 'echo'));
  await new Promise((resolve) => setTimeout(resolve, 30));
  await pool.stopServer('echo');
  expect(await Promise.all([starting, call])).toEqual(['ERR_SERVER_STOPPED', 'ERR_SERVER_STOPPED']);
  expect(pool.state('echo')).toBe('stopped');
});

test('closed or removed while restarting: nothing is started any more, nothing is left', async () => {
  for (const end of ['close', 'remove'] as const) {
    const pool = stdioPool(FAST);
    let started = 0;
    pool.on('started', () => started++);
    await pool.startServer(echo(['--ignore-eof']));
    const restarting = outcome(pool.restartServer('echo'));
    const call = outcome(tool(pool, 'echo'));
    await new Promise((resolve) => setTimeout(resolve, 20));
    await (end === 'close' ? pool.close() : pool.removeServer('echo'));
    expect(await Promise.all([restarting, call])).toEqual(['ERR_CLOSED', 'ERR_CLOSED']);
    expect(started).toBe(1);
  }
});

test('closed inside each of its own event listeners', async () => {
  for (const event of ['started', 'state', 'exited', 'stderr', 'notification'] as const) {
    const pool = new StdioPool(FAST);
    const closed = new Promise<void>((resolve, reject) => {
      pool.on(event, () => pool.close({ graceMs: 0 }).then(resolve, reject));
    });
    pool.addServer(echo());
    await outcome(tool(pool, 'stderr', { lines: 1 }));
    await outcome(tool(pool, 'notify', { method: 'notifications/x' }));
    await outcome(tool(pool, 'exit'));
    await closed;
    expect(await outcome(tool(pool, 'echo'))).toBe('ERR_CLOSED');
  }
});

test('stop, start, restart, remove and apply under load: every call settles, with an answer or the truth', async () => {
  const pool = stdioPool({ ...FAST, stableAfterMs: 0 });
  pool.addServer(echo());
  let over = false;
  const ends = new Map<unknown, number>();
  const workers = Array.from({ length: 8 }, async (_, i) => {
    while (!over) {
      const end = await outcome(tool(pool, 'echo', { text: `t${i}` }));
      if (end === `t${i}`) ends.set('answered', (ends.get('answered') ?? 0) + 1);
      else {
        ends.set(end, (ends.get(end) ?? 0) + 1);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    }
  });
  const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 40));
  await pool.startServer('echo');
  await Promise.all([pool.restartServer('echo'), pool.restartServer('echo')]);
  expect(pool.stats('echo').restarts).toBe(1);
  // Neither a restart nor an apply fails a call: they wait.
  expect([...ends.keys()].filter((end) => end !== 'answered')).toEqual([]);
  await pause();
  expect(await pool.apply([echo([], { maxConcurrent: 9 })])).toMatchObject({ restarted: ['echo'] });
  await pause();
  expect([...ends.keys()].filter((end) => end !== 'answered')).toEqual([]);
  expect(await pool.apply([echo([], { maxConcurrent: 9 })])).toMatchObject({ unchanged: ['echo'] });
  await Promise.all([pool.stopServer('echo'), outcome(pool.startServer('echo')), pool.stopServer('echo')]);
  expect(pool.state('echo')).toBe('stopped');
  await pause();
  await pool.startServer('echo');
  await pool.removeServer('echo');
  await pause();
  over = true;
  await Promise.all(workers);
  expect(ends.get('answered')).toBeGreaterThan(10);
  const truths = ['answered', 'ERR_SERVER_STOPPED', 'ERR_CLOSED', 'ERR_SERVER_NOT_FOUND', 'ERR_OUTCOME_UNKNOWN'];
  for (const end of ends.keys()) expect(truths).toContain(end);
});

test('a pool closed at once while a server is being removed at leisure waits for no leisure', async () => {
  const pool = stdioPool(FAST);
  await pool.startServer(echo());
  const call = outcome(tool(pool, 'sleep', { ms: 60_000 }));
  const removed = pool.removeServer('echo', { graceMs: 60_000 });
  await new Promise((resolve) => setTimeout(resolve, 20));
  await pool.close({ graceMs: 0 });
  await removed;
  expect(await call).toBe('ERR_OUTCOME_UNKNOWN');
});

test('an idle server is stopped, and is back on the next call', async () => {
  const pool = stdioPool({ ...FAST, idleTimeoutMs: 200 });
  pool.addServer(echo());
  const idle = new Promise<void>((resolve) => {
    pool.on('exited', ({ expected }) => {
      expect(expected).toBe(true);
      resolve();
    });
  });
  const first = await pidOf(pool);
  await idle;
  expect(await pidOf(pool)).not.toBe(first);
  expect(pool.stats('echo')).toMatchObject({ state: 'ready', restarts: 0 });
});

test('a server whose wrapper throws is not left behind, also under a manager that is not the pool’s', async () => {
  const lifecycle = closeAfter(new LifecycleManager({ ledger: false }));
  const pool = closeAfter(
    new StdioPool({ ...FAST, lifecycle, wrapConnection: () => Promise.reject(new Error('a wrapper')) }),
  );
  pool.addServer(echo());
  expect(await outcome(tool(pool, 'echo'))).toBe('ERR_START_FAILED');
  expect(lifecycle.list()).toEqual([]);
  await pool.close();
  await lifecycle.close();
});

test('every field of the stats is true', async () => {
  const lifecycle = closeAfter(new LifecycleManager({ ledger: false }));
  const pool = closeAfter(new StdioPool({ ...FAST, lifecycle, stableAfterMs: 0 }));
  pool.addServer(echo());
  const zero = { calls: 0, inFlight: 0, queued: 0, connections: 0, restarts: 0, unsentBytes: 0, garbageLines: 0 };
  expect(pool.stats('echo')).toMatchObject({ ...zero, name: 'echo', state: 'idle', errors: {}, breaker: 'closed' });
  expect(pool.stats('echo').startedAt).toBeUndefined();
  expect(pool.stats('echo').latencyMs).toBeUndefined();
  const before = Date.now();
  const pid = await pidOf(pool);
  await Promise.all(Array.from({ length: 9 }, () => tool(pool, 'sleep', { ms: 30 })));
  await tool(pool, 'twice');
  await tool(pool, 'garbage');
  await outcome(tool(pool, 'nonsense'));
  await tool(pool, 'ask');
  await outcome(tool(pool, 'sleep', { ms: 60_000 }, { timeoutMs: 20 }));
  const hanging = Array.from({ length: 70 }, () => outcome(tool(pool, 'sleep', { ms: 60_000 })));
  await new Promise((resolve) => setImmediate(resolve));
  await lifecycle.refresh();
  const stats = pool.stats('echo');
  expect(stats).toMatchObject({
    state: 'ready',
    inFlight: 64,
    queued: 6,
    connections: 1,
    errors: { ERR_RPC: 1, ERR_REQUEST_TIMEOUT: 1 },
    pids: [pid],
    lateReplies: 1,
    garbageLines: 4,
    orphanRequests: 1,
    breaker: 'closed',
    restarts: 0,
  });
  // The handshake, ten calls, twice, garbage, nonsense, ask, the late one, and those that hang.
  expect(stats.calls).toBe(1 + 10 + 5 + 64);
  expect(stats.memoryBytes).toBeGreaterThan(1024 * 1024);
  expect(stats.startedAt).toBeGreaterThanOrEqual(before - 1_000);
  expect(stats.latencyMs?.p90).toBeGreaterThan(25);
  expect(stats.latencyMs?.p50).toBeLessThanOrEqual(stats.latencyMs?.p90 ?? 0);
  expect(stats.lastError).toContain('did not answer');
  process.kill(pid, 'SIGKILL');
  // Those that were sent; the queued ones go on to the next process.
  await Promise.all(hanging.slice(0, 64));
  await tool(pool, 'stop-reading');
  const stuck = outcome(tool(pool, 'echo', { text: 'x'.repeat(1_000_000) }, { timeoutMs: 100 }));
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(pool.stats('echo').unsentBytes).toBeGreaterThan(500_000);
  await stuck;
  // What the first process counted still counts.
  expect(pool.stats('echo')).toMatchObject({ restarts: 1, garbageLines: 4, lateReplies: 1 });
  expect(pool.stats('echo').errors['ERR_OUTCOME_UNKNOWN']).toBe(64);
  await pool.close({ graceMs: 0 });
  await Promise.all(hanging);
  await lifecycle.close();
});

test('a call whose process had closed its input goes to the next one: not one byte of it was taken', async () => {
  const pool = stdioPool(FAST);
  pool.addServer(echo([], { args: [fixture('hostile-server.mjs')] }));
  const pid = 'reply({ content: [{ text: String(process.pid) }] });';
  const first = await tool(pool, 'x', { js: `process.getBuiltinModule('node:fs').closeSync(0); ${pid}` });
  expect(await tool(pool, 'x', { js: pid })).not.toBe(first);
  expect(pool.stats('echo').errors).toEqual({});
});
