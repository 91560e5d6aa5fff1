import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PoolkitError } from '../src/core/errors.js';
import type { McpPool } from '../src/pool/McpPool.js';
import { UnifiedPool } from '../src/pool/UnifiedPool.js';
import type { SeveralServersConfig } from '../src/registry/config/ServerConfig.js';
import { check, History, record } from '../src/testing/index.js';
import type { Bench } from './harness.js';
import { Upstream } from './targets/Upstream.js';

const SERVICE_MS = 20;
const CALLS_PER_SEC = 100;
/** The first second is the one in which the pool finds out. */
const LEARN_MS = 1_000;
const DOWN_EVERY_MS = 3_000;
const DOWN_MS = 1_000;
const CALLERS = 50;

interface Row {
  readonly name: string;
  readonly settings: Partial<SeveralServersConfig>;
  /** Which of the four it has. */
  readonly targets: readonly (keyof Four)[];
}

interface Four {
  readonly slow: Upstream;
  readonly failing: Upstream;
  readonly dying: Upstream;
  readonly healthy: Upstream;
}

const ALL = ['slow', 'failing', 'dying', 'healthy'] as const;
const NEVER = { outliers: { maxEjectedRatio: 0 }, retryRatio: 0 } as const;

const ROWS: readonly Row[] = [
  { name: 'one target, healthy', settings: {}, targets: ['healthy'] },
  { name: 'one target, dying', settings: {}, targets: ['dying'] },
  { name: 'round-robin, no ejection, no retries', settings: { balance: 'round-robin', ...NEVER }, targets: ALL },
  { name: 'round-robin', settings: { balance: 'round-robin' }, targets: ALL },
  { name: 'least-loaded', settings: { balance: 'least-loaded' }, targets: ALL },
  { name: 'failover', settings: { balance: 'failover' }, targets: ALL },
  { name: 'hash', settings: { balance: 'hash' }, targets: ALL },
  { name: 'p2c-ewma', settings: { balance: 'p2c-ewma' }, targets: ALL },
  { name: 'p2c-ewma, hedged', settings: { balance: 'p2c-ewma', hedge: { after: 'p95' } }, targets: ALL },
];

/** What became of the calls of one row. */
interface Outcome {
  readonly name: string;
  readonly latenciesMs: number[];
  /** Of calls to the healthy one alone, made at the same time: what the machine does to both is in both. */
  readonly healthyMs: number[];
  calls: number;
  failed: number;
  /** Of those that may be repeated. */
  reads: number;
  failedReads: number;
  readonly errors: Map<string, number>;
}

/**
 * Four targets behind one name, one slow by ten times, one failing half of its calls, one killed every few seconds and back a second
 * later, one healthy; a constant open load, half of it calls that may be repeated. What the servers did is judged.
 */
export async function suite(bench: Bench): Promise<void> {
  await cost(bench);
  const seconds = bench.quick ? 6 : 13;
  const folder = mkdtempSync(join(tmpdir(), 'poolkit-targets-'));
  const history = new History();
  const start = (name: string, serviceMs: number, failing = 0): Promise<Upstream> =>
    Upstream.start({ name, serviceMs, failing, folder });
  const [slow, failing, dying, healthy] = await Promise.all([
    start('slow', 10 * SERVICE_MS),
    start('failing', SERVICE_MS, 0.5),
    start('dying', SERVICE_MS),
    start('healthy', SERVICE_MS),
  ]);
  const four: Four = { slow, failing, dying, healthy };
  const found = new Map<string, Outcome>();
  try {
    for (const row of ROWS) found.set(row.name, await run(row, four, history, seconds * 1_000, bench.stopping));
  } finally {
    await Promise.all(Object.values(four).map((each: Upstream) => each.kill()));
  }
  history.end();
  for (const each of Object.values(four) as Upstream[]) history.merge(each.events);
  rmSync(folder, { recursive: true, force: true });
  report(bench, found, history);
}

/** What the choice of a target adds to a call, over stdio, where a call costs least. */
async function cost(bench: Bench): Promise<void> {
  await using pool = new UnifiedPool();
  const program = { command: process.execPath, args: ['bench/servers/echo.mjs'] };
  pool.addServer({ name: 'one server', transport: 'stdio', ...program });
  pool.addServer({ name: 'one target, p2c-ewma', targets: [program] });
  // Half as many calls share each write.
  pool.addServer({ name: 'two targets, p2c-ewma', targets: [program, program] });
  pool.addServer({ name: 'two targets, hedged', targets: [program, program], hedge: { after: 60_000 } });
  const names = pool.servers();
  await Promise.all(names.map((name) => pool.startServer(name)));
  const figure = await bench.race(
    'echo over stdio, 16 calls at a time',
    names.map((name) => ({
      name,
      run: async (operations: number) => {
        for (let i = 0; i < operations; i += 16) {
          const calls = Array.from({ length: 16 }, () =>
            pool.callTool(name, 'echo', { text: 'x' }, { idempotent: true }),
          );
          for (const { content } of await Promise.all(calls)) {
            if ((content[0] as { text?: string }).text !== 'x') throw new Error('a call went astray');
          }
        }
      },
    })),
    { operations: 8_000 },
  );
  const ratio = figure('one target, p2c-ewma').cpuNs / figure('one server').cpuNs;
  bench.target('processor time of a call that is balanced, against one that is not', ratio, '<=', 1.5);
}

async function run(row: Row, four: Four, history: History, forMs: number, stopping: AbortSignal): Promise<Outcome> {
  stopping.throwIfAborted();
  await using pool = record<McpPool>(new UnifiedPool(), history, { part: row.name });
  const targets = row.targets.map((each) => ({ url: four[each].url, transport: 'http' as const }));
  pool.addServer({ name: 'app', targets, ...row.settings });
  await using beside = new UnifiedPool();
  beside.addServer({ name: 'app', transport: 'http', url: four.healthy.url });
  await Promise.all([pool.startServer('app'), beside.startServer('app')]);
  const outcome: Outcome = {
    name: row.name,
    latenciesMs: [],
    healthyMs: [],
    calls: 0,
    failed: 0,
    reads: 0,
    failedReads: 0,
    errors: new Map(),
  };
  const over = new AbortController();
  const dies = row.targets.includes('dying') ? keepDying(four.dying, over.signal) : Promise.resolve();
  const beganMs = performance.now();
  const open: Promise<void>[] = [];
  for (let i = 0; ; i++) {
    // When it was due, not when it was sent: a generator that is late hides nothing.
    const dueMs = beganMs + (i * 1_000) / CALLS_PER_SEC;
    if (dueMs - beganMs >= forMs) break;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const counts = dueMs - beganMs >= LEARN_MS;
    open.push(call(pool, i, dueMs, counts ? outcome : undefined));
    open.push(
      beside.callTool('app', 'read').then(() => {
        if (counts) outcome.healthyMs.push(performance.now() - dueMs);
      }),
    );
  }
  await Promise.all(open);
  over.abort();
  await dies;
  return outcome;
}

async function call(pool: McpPool, i: number, dueMs: number, outcome: Outcome | undefined): Promise<void> {
  const idempotent = i % 2 === 0;
  const caller = { key: `caller ${i % CALLERS}` };
  let error: unknown;
  try {
    await pool.callTool('app', 'read', { text: String(i) }, { idempotent, caller, timeoutMs: 5_000 });
  } catch (failure) {
    error = failure;
  }
  if (outcome === undefined) return;
  outcome.calls++;
  if (idempotent) outcome.reads++;
  if (error === undefined) {
    outcome.latenciesMs.push(performance.now() - dueMs);
    return;
  }
  outcome.failed++;
  if (idempotent) outcome.failedReads++;
  const code = error instanceof PoolkitError ? error.code : String(error);
  outcome.errors.set(code, (outcome.errors.get(code) ?? 0) + 1);
}

async function keepDying(upstream: Upstream, over: AbortSignal): Promise<void> {
  const rest = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      function done(): void {
        clearTimeout(timer);
        over.removeEventListener('abort', done);
        resolve();
      }
      over.addEventListener('abort', done, { once: true });
    });
  while (!over.aborted) {
    await rest(DOWN_EVERY_MS - DOWN_MS);
    if (over.aborted) return;
    await upstream.kill();
    await rest(DOWN_MS);
    await upstream.up();
  }
}

const quantile = (values: readonly number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.max(0, Math.ceil(values.length * share) - 1)] ?? Number.NaN;

function report(bench: Bench, found: ReadonlyMap<string, Outcome>, history: History): void {
  const toHealthy = ({ latenciesMs, healthyMs }: Outcome): number =>
    quantile(latenciesMs, 0.99) / quantile(healthyMs, 0.99);
  const share = (failed: number, of: number): string => `${((100 * failed) / Math.max(1, of)).toFixed(2)} %`;
  const head = ['', 'p50', 'p99', 'p99 of healthy', 'ratio', 'failed', 'of reads', 'of others', 'errors'];
  const rows = [...found.values()].map((each) => {
    const p99 = quantile(each.latenciesMs, 0.99);
    const errors = [...each.errors].map(([code, count]) => `${count} ${code}`).join(', ');
    return [
      each.name,
      `${quantile(each.latenciesMs, 0.5).toFixed(1)} ms`,
      `${p99.toFixed(1)} ms`,
      `${quantile(each.healthyMs, 0.99).toFixed(1)} ms`,
      `x${toHealthy(each).toFixed(2)}`,
      share(each.failed, each.calls),
      share(each.failedReads, each.reads),
      share(each.failed - each.failedReads, each.calls - each.reads),
      errors,
    ];
  });
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  for (const row of [head, ...rows]) bench.note(row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  const ours = found.get('p2c-ewma') as Outcome;
  bench.target('p99 of p2c-ewma with ejection, against the healthy one’s', toHealthy(ours), '<=', 1.5);
  bench.target(
    'failed calls of p2c-ewma with ejection after the first second, in %',
    (100 * ours.failed) / ours.calls,
    '<=',
    0.5,
  );
  const verdict = check(history);
  bench.target('calls repeated unsafely, or told wrongly, by the history', verdict.violations.length, '<=', 0);
  for (const { message } of verdict.violations.slice(0, 5)) bench.note(message);
  bench.note(
    `${history.events.length} events of ${[...found.values()].reduce((sum, { calls }) => sum + calls, 0)} calls judged`,
  );
}
