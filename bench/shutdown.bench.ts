import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { connect, type Socket } from 'node:net';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { type Bench, median } from './harness.js';

/**
 * 50 requests in flight, each waiting for an upstream process, then SIGTERM: how many are answered, how long the process
 * takes to exit, and whether the upstream outlives it. In the plain scenario nothing else is connected; in the busy one
 * 100 idle kept connections, 20 that never sent anything, and an event stream are open too.
 */

const OURS = 'mcp-poolkit';
const PROGRAMS = [OURS, 'close-with-grace', '@godaddy/terminus', 'stoppable', 'http-terminator', 'server.close()'];
const REQUESTS = 50;
/** An exit that took this long was waited for, not worked for. */
const SLOW_MS = 4_000;
/** A program that has not exited by then is killed. */
const PATIENCE_MS = 9_000;

interface Outcome {
  readonly answered: number;
  readonly exitMs: number;
  /** From the last answer to the exit: what the shutdown itself costs. */
  readonly tailMs: number;
  readonly orphans: number;
  readonly code: string;
}

export async function suite(bench: Bench): Promise<void> {
  await scenario(bench, 'plain', bench.quick ? 1 : 15);
  if (!bench.quick) await scenario(bench, 'busy', 3);
}

async function scenario(bench: Bench, kind: 'plain' | 'busy', rounds: number): Promise<void> {
  const outcomes = new Map<string, Outcome[]>(PROGRAMS.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    const turns = PROGRAMS.map((_, i) => async (): Promise<void> => {
      const name = PROGRAMS[(i + round) % PROGRAMS.length] as string;
      const soFar = outcomes.get(name) ?? [];
      // Those that wait for their own timeout need no more precision.
      if (soFar.length >= 2 && soFar.every((each) => each.exitMs > SLOW_MS)) return;
      soFar.push(await run(name, kind === 'busy', bench.quick ? 3_000 : 5_000));
    });
    // Side by side when there is no time: they disturb each other then.
    if (bench.quick) await Promise.all(turns.map((turn) => turn()));
    else for (const turn of turns) await turn();
  }
  bench.note(`${kind}: ${REQUESTS} requests in flight, medians of ${rounds}`);
  bench.note('| | answered | dropped | exit ms | of it after the last answer | exit code | orphans |');
  bench.note('|---|---|---|---|---|---|---|');
  const rows = PROGRAMS.map((name) => {
    const all = outcomes.get(name) ?? [];
    const of = (pick: (outcome: Outcome) => number): number => Math.round(median(all.map(pick)));
    const row = {
      name,
      answered: of((each) => each.answered),
      worst: Math.min(...all.map((each) => each.answered)),
      exitMs: of((each) => each.exitMs),
      tailMs: of((each) => each.tailMs),
      orphans: Math.max(...all.map((each) => each.orphans)),
    };
    const codes = [...new Set(all.map((each) => each.code))].join(', ');
    bench.note(
      `| ${name} | ${row.answered} | ${REQUESTS - row.worst} | ${row.exitMs} | ${row.tailMs} | ${codes} | ${row.orphans} |`,
    );
    return row;
  });
  const ours = rows[0] as (typeof rows)[number];
  const rivals = rows.slice(1).filter((row) => row.worst === REQUESTS);
  bench.target(`${kind}: dropped`, REQUESTS - ours.worst, '<=', 0);
  bench.target(`${kind}: orphans`, ours.orphans, '<=', 0);
  const fastest = Math.min(...rivals.map((row) => row.tailMs));
  if (Number.isFinite(fastest)) {
    bench.target(`${kind}: ms after the last answer, against the fastest that drops none`, ours.tailMs, '<=', fastest);
  }
}

async function run(name: string, busy: boolean, limitMs: number): Promise<Outcome> {
  const file = resolve(import.meta.dirname, '../../bench/fixtures/shutdown-server.mjs');
  const child = spawn(process.execPath, [file, name, String(limitMs)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const { port, upstream } = JSON.parse(line) as { port: number; upstream: number };
  const url = `http://127.0.0.1:${port}`;
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 1_000 });
  const others: Socket[] = [];
  if (busy) {
    await Promise.all(Array.from({ length: 100 }, (_, i) => ask(agent, `${url}/?id=idle${i}&ms=300`)));
    for (let i = 0; i < 20; i++) others.push(connect(port, '127.0.0.1').on('error', () => undefined));
    await Promise.all(others.map((socket) => once(socket, 'connect')));
    void ask(new Agent({ keepAlive: true }), `${url}/events`);
  }
  let lastMs = 0;
  const calls = Array.from({ length: REQUESTS }, async (_, id) => {
    const body = await ask(agent, `${url}/?id=${id}&ms=${300 + id * 4}`);
    if (body === `answer ${id}`) lastMs = performance.now();
    return body === `answer ${id}`;
  });
  const watcher = new Agent({ keepAlive: false });
  for (let waiting = 0; waiting < REQUESTS; ) waiting = Number(await ask(watcher, `${url}/waiting`));

  const startMs = performance.now();
  const exited = once(child, 'exit') as Promise<[number | null, string | null]>;
  child.kill('SIGTERM');
  const patience = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
  const [code, signal] = await exited;
  const endMs = performance.now();
  clearTimeout(patience);
  const answered = (await Promise.all(calls)).filter(Boolean).length;
  for (const socket of others) socket.destroy();
  agent.destroy();
  const orphans = isAlive(upstream) ? 1 : 0;
  if (orphans > 0) process.kill(upstream, 'SIGKILL');
  return { answered, exitMs: endMs - startMs, tailMs: endMs - lastMs, orphans, code: String(code ?? signal) };
}

/** The body, or undefined when there was no whole answer. */
function ask(agent: Agent, url: string): Promise<string | undefined> {
  return new Promise((settle) => {
    const failed = (): void => settle(undefined);
    get(url, { agent }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.once('end', () => settle(text)).once('error', failed);
    }).once('error', failed);
  });
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
