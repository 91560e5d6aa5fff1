import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { LifecycleManager } from '../src/registry/lifecycle/LifecycleManager.js';
import { ManagedProcess } from '../src/registry/process/ManagedProcess.js';
import { readProcessTable } from '../src/registry/process/processTable.js';
import { type Bench, median } from './harness.js';

const UNRULY = join(import.meta.dirname, '../../test/fixtures/unruly.mjs');
const KINDS = [
  ...['wellBehaved', 'ignoresEof', 'ignoresSigterm', 'leavesGrandchild', 'daemonises', 'clearsEnvironment'],
  ...['clearsEnvironmentAndDaemonises', 'floods', 'spins', 'wraps'],
];
const GRACES = { stdinGraceMs: 100, termGraceMs: 100 };
const CAT = { command: '/bin/cat' };

function assertDead(pids: readonly number[]): void {
  for (const pid of pids) if (isAlive(pid)) throw new Error(`process ${pid} is alive`);
}

function isAlive(pid: number): boolean {
  try {
    return /^State:\s+[^ZX\s]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** The pids of an unruly child's `up` line, from its first bytes on stdout. */
const pidsIn = (chunk: unknown): number[] => /^up (.*)$/m.exec(String(chunk))?.[1]?.split(' ').map(Number) ?? [];

async function timeToProof(kind: string, end: 'stop' | 'kill'): Promise<number> {
  const child = await ManagedProcess.spawn(kind, { command: process.execPath, args: [UNRULY, kind] }, GRACES);
  const pids = await new Promise<number[]>((resolve) => child.stdout.once('data', (chunk) => resolve(pidsIn(chunk))));
  child.stdout.resume();
  const startMs = performance.now();
  await child[end]();
  const tookMs = performance.now() - startMs;
  assertDead(pids);
  return tookMs;
}

/** The same child under the SDK's transport: how long its `close` takes and how many processes it leaves alive. */
async function sdkClose(kind: string): Promise<{ tookMs: number; left: number }> {
  const transport = new StdioClientTransport({ command: process.execPath, args: [UNRULY, kind], stderr: 'ignore' });
  await transport.start();
  const { pid } = transport;
  if (pid === null) throw new Error('the transport has no process');
  // Everything under it, by the parents the system knows; the children need a moment to be there.
  let pids: number[] = [];
  const wanted = /^(leaves|daemon|clears|wraps)/.test(kind) ? 2 : 1;
  while (pids.length < wanted) {
    const { rows } = await readProcessTable();
    pids = [pid, ...[...rows.values()].filter(({ ppid }) => ppid === pid).map((row) => row.pid)];
  }
  await new Promise((resolve) => setTimeout(resolve, 300));
  const startMs = performance.now();
  await transport.close();
  const tookMs = performance.now() - startMs;
  const alive = pids.filter(isAlive);
  for (const each of alive) process.kill(each, 'SIGKILL');
  return { tookMs, left: alive.length };
}

export async function suite(bench: Bench): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'poolkit-bench-'));
  const plain = new LifecycleManager({ ledger: false });
  const kept = new LifecycleManager({ ledger: { directory } });
  const cycles = (manager: LifecycleManager) => async (operations: number) => {
    for (let i = 0; i < operations; i++) {
      const handle = await manager.start({ id: 'cat', name: 'cat', ...CAT });
      await handle.stop();
      assertDead([handle.process.pid]);
    }
  };
  const race = await bench.race(
    'start and stop of /bin/cat',
    [
      {
        name: 'child_process, EOF, wait for close',
        run: async (operations) => {
          for (let i = 0; i < operations; i++) {
            const child = spawn('/bin/cat', { stdio: 'pipe' });
            child.stdin.end();
            await new Promise((resolve) => child.once('close', resolve));
          }
        },
      },
      {
        name: 'ManagedProcess, proved dead',
        run: async (operations) => {
          for (let i = 0; i < operations; i++) {
            const child = await ManagedProcess.spawn('cat', CAT);
            await child.stop();
            assertDead([child.pid]);
          }
        },
      },
      { name: 'LifecycleManager', run: cycles(plain) },
      { name: 'LifecycleManager with its ledger', run: cycles(kept) },
    ],
    { operations: 30 },
  );
  const cpu = (name: string): number => race(name).cpuNs / race('child_process, EOF, wait for close').cpuNs;
  bench.note(
    `CPU beside the floor: proof x${cpu('ManagedProcess, proved dead').toFixed(1)}, ` +
      `with the ledger x${cpu('LifecycleManager with its ledger').toFixed(1)}`,
  );
  await bench.race(
    `the process table (${(await readProcessTable()).rows.size} processes)`,
    [
      {
        name: 'one reading',
        run: async (operations) => {
          for (let i = 0; i < operations; i++) await readProcessTable();
        },
      },
    ],
    { operations: 50 },
  );

  const rounds = bench.quick ? 1 : 5;
  // Each stubborn one costs the SDK's transport seconds.
  const kinds = bench.quick ? KINDS.slice(0, 2) : KINDS;
  const sdk = await Promise.all(kinds.map(sdkClose));
  bench.note(
    'time from the call to the proof of death, ms, graces of 100 + 100 ms; beside it the SDK transport (2 s + 2 s)',
  );
  bench.note(
    `${'child'.padEnd(32)} ${'stop'.padStart(7)} ${'kill'.padStart(7)} ${'SDK close'.padStart(10)}  left alive by it`,
  );
  for (const [i, kind] of kinds.entries()) {
    const stops: number[] = [];
    const kills: number[] = [];
    for (let round = 0; round < rounds; round++) {
      stops.push(await timeToProof(kind, 'stop'));
      kills.push(await timeToProof(kind, 'kill'));
    }
    const figures = [median(stops), median(kills)].map((ms) => ms.toFixed(0).padStart(7)).join(' ');
    const { tookMs = Number.NaN, left = Number.NaN } = sdk[i] ?? {};
    bench.note(`${kind.padEnd(32)} ${figures} ${tookMs.toFixed(0).padStart(10)}  ${left}`);
  }
  await Promise.all([plain.close(), kept.close()]);
  if (readdirSync(join(directory, 'processes')).length > 0) throw new Error('the ledger is not empty');
  rmSync(directory, { recursive: true });
}
