import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KINDS, LoadClient, type Made } from './clients.js';
import { freePort, startNginx, startRedis, startReplica, stop } from './programs.js';

export interface FleetOptions {
  /** Clients of each kind. */
  readonly clientsOfEach: number;
  /** Rounds of a rolling restart of all, then a kill. */
  readonly rounds: number;
  /** Load between two acts, in ms. */
  readonly calmMs: number;
  readonly limit: { readonly maxRequests: number; readonly windowMs: number };
  /** How long a replica that stops serves on, and then refuses, in ms. */
  readonly delayMs: number;
  readonly refusingMs: number;
  readonly log?: (line: string) => void;
}

export interface FleetReport {
  readonly calls: number;
  /** Failed calls while replicas were restarted one after the other. */
  readonly failedInRestarts: readonly Made[];
  /** Failed calls that were in flight when a replica was killed. */
  readonly failedByKill: readonly Made[];
  /** Other failed calls after a kill. */
  readonly failedOtherwise: readonly Made[];
  /** Clients whose session is another than at the start. */
  readonly sessionsLost: readonly string[];
  readonly permits: number;
  /** The most permits in any window. */
  readonly fullestWindow: number;
  /** Replicas that did not end by themselves with code 0. */
  readonly badExits: readonly (number | null)[];
  /** Calls answered per second, by kind of client. */
  readonly perSec: number;
}

const REPLICAS = 3;

/** Three replicas behind nginx with one Redis, under constant load: rolling restarts, then a kill. */
export async function runFleet(options: FleetOptions): Promise<FleetReport> {
  const { limit, clientsOfEach, rounds, calmMs, delayMs, refusingMs, log = () => undefined } = options;
  const folder = mkdtempSync(join(tmpdir(), 'mcp-poolkit-fleet-'));
  const children = new Set<ChildProcess>();
  let proxy: ChildProcess | undefined;
  const clients: LoadClient[] = [];
  const calm = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, calmMs));
  try {
    const redis = await startRedis(folder);
    children.add(redis.child);
    const key = randomBytes(32).toString('hex');
    const ports = await Promise.all(Array.from({ length: REPLICAS }, () => freePort()));
    let started = 0;
    const start = async (port: number): Promise<ChildProcess> => {
      const grants = join(folder, `grants-${started++}`);
      const child = await startReplica({ port, redis: redis.port, key, grants, limit, delayMs, refusingMs });
      children.add(child);
      return child;
    };
    const replicas = await Promise.all(ports.map(start));
    const nginx = await startNginx(folder, ports, Math.floor(delayMs / 2));
    proxy = nginx.child;
    const url = new URL(`http://127.0.0.1:${nginx.port}/servers/echo/mcp`);
    for (let i = 0; i < clientsOfEach; i++) {
      for (const kind of KINDS) clients.push(await LoadClient.connect(`${kind} ${i}`, kind, url));
    }
    const beganMs = performance.now();
    for (const client of clients) client.start();
    const badExits: (number | null)[] = [];
    const kills: { readonly fromMs: number; readonly toMs: number }[] = [];
    for (let round = 0; round < rounds; round++) {
      await calm();
      for (const [index, port] of ports.entries()) {
        const code = await stop(replicas[index]);
        if (code !== 0) badExits.push(code);
        replicas[index] = await start(port);
        log(`round ${round + 1}: replica ${index + 1} was restarted`);
      }
      await calm();
      const dead = round % REPLICAS;
      const fromMs = performance.now();
      await stop(replicas[dead], 'SIGKILL');
      kills.push({ fromMs, toMs: performance.now() });
      log(`round ${round + 1}: replica ${dead + 1} was killed`);
      await calm();
      replicas[dead] = await start(ports[dead] as number);
    }
    await Promise.all(clients.map((client) => client.stop()));
    const tookMs = performance.now() - beganMs;
    for (const child of replicas) {
      const code = await stop(child);
      if (code !== 0) badExits.push(code);
    }
    const made = clients.flatMap((client) => client.made);
    const failed = made.filter(({ error }) => error !== undefined);
    const atKill = ({ beganMs, endedMs }: Made): boolean =>
      kills.some(({ fromMs, toMs }) => beganMs <= toMs + RACE_MS && endedMs >= fromMs);
    const nearKill = ({ beganMs }: Made): boolean =>
      kills.some(({ fromMs, toMs }) => beganMs >= fromMs && beganMs < toMs + calmMs);
    const stamps = Array.from({ length: started }, (_, index) => stampsIn(join(folder, `grants-${index}`))).flat();
    return {
      calls: made.length,
      failedByKill: failed.filter(atKill),
      failedOtherwise: failed.filter((call) => !atKill(call) && nearKill(call)),
      failedInRestarts: failed.filter((call) => !atKill(call) && !nearKill(call)),
      sessionsLost: clients.filter(({ same }) => !same).map(({ name }) => name),
      permits: stamps.length,
      fullestWindow: fullestWindow(
        stamps.sort((a, b) => a - b),
        limit.windowMs * 1_000,
      ),
      badExits,
      perSec: made.length / (tookMs / 1_000),
    };
  } finally {
    await Promise.all(clients.map((client) => client.stop().catch(() => undefined)));
    // By a signal that it hears: killed, it would leave its workers behind.
    await stop(proxy, 'SIGTERM');
    await Promise.all([...children].map((child) => stop(child, 'SIGKILL')));
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A connection to a process that was killed just now may still look alive, in ms. */
const RACE_MS = 50;

const stampsIn = (file: string): number[] => readFileSync(file, 'utf8').split('\n').filter(Boolean).map(Number);

/** The most stamps that any half-open window of that length holds: the fullest begins at a stamp. */
function fullestWindow(ascendingUs: readonly number[], windowUs: number): number {
  let most = 0;
  for (let first = 0, next = 0; first < ascendingUs.length; first++) {
    while (next < ascendingUs.length && (ascendingUs[next] as number) < (ascendingUs[first] as number) + windowUs)
      next++;
    most = Math.max(most, next - first);
  }
  return most;
}
