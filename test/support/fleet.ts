import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const FIXTURE = join(import.meta.dirname, '../fixtures/cluster-limiter.mjs');

export interface FleetMember {
  readonly port: number;
  readonly ioredis: 'ioredis' | 'ioredis6';
  /** Callers that each want a permit all the time. */
  readonly callers: number;
  readonly limiter: Readonly<Record<string, unknown>>;
}

/** Processes that share limits, each writing down when it was granted a permit. */
export class Fleet implements AsyncDisposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'mcp-poolkit-fleet-'));
  readonly #children: ChildProcess[] = [];
  /** Why members lost the store, if any did. */
  readonly lost: unknown[] = [];

  /** Starts them all; resolves when each has had its first permit. */
  async start(members: readonly FleetMember[]): Promise<void> {
    await Promise.all(
      members.map(async (member) => {
        const file = join(this.#folder, `${this.#children.length}`);
        const child = fork(FIXTURE, [JSON.stringify({ ...member, file })], {
          stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
        });
        this.#children.push(child);
        const ready = new Promise((resolve) => {
          child.on('message', (message) => (message === 'ready' ? resolve(message) : this.lost.push(message)));
        });
        await Promise.race([
          ready,
          once(child, 'exit').then(([code]) => Promise.reject(new Error(`a member ended with ${code}`))),
        ]);
      }),
    );
  }

  go(): void {
    for (const child of this.#children) child.send('go');
  }

  async kill(index: number): Promise<void> {
    const child = this.#children[index];
    if (child === undefined) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  }

  /** Ends all that still run, by their own close; rejects when one does not end by itself with code 0. */
  async stop(): Promise<void> {
    const running = this.#children.filter((child) => child.exitCode === null && child.signalCode === null);
    const codes = await Promise.all(
      running.map(async (child) => {
        const exit = once(child, 'exit');
        child.send('stop');
        return (await exit)[0] as unknown;
      }),
    );
    if (codes.some((code) => code !== 0)) throw new Error(`members ended with ${codes.join(', ')}`);
  }

  /** When each permit of one member was granted, in microseconds of the system's monotonic clock. */
  grantsOf(index: number): number[] {
    return readFileSync(join(this.#folder, `${index}`), 'utf8')
      .split('\n')
      .filter(Boolean)
      .map(Number);
  }

  /** When each permit of the whole fleet was granted, ascending. */
  get grants(): number[] {
    return this.#children.flatMap((_, index) => this.grantsOf(index)).sort((a, b) => a - b);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#children.map((_, index) => this.#ended(index)));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #ended(index: number): Promise<void> {
    const child = this.#children[index];
    if (child?.exitCode === null && child.signalCode === null) await this.kill(index);
  }
}

/** The most stamps that any half-open window of that length holds. The fullest window begins at a stamp. */
export function fullestWindow(ascendingUs: readonly number[], windowUs: number): number {
  let most = 0;
  for (let first = 0, next = 0; first < ascendingUs.length; first++) {
    while (next < ascendingUs.length && (ascendingUs[next] as number) < (ascendingUs[first] as number) + windowUs)
      next++;
    most = Math.max(most, next - first);
  }
  return most;
}

/**
 * How much of the limit was used: under demand that never ends, each grant comes a window after the one `max` before it,
 * if nothing is lost.
 */
export function useOf(ascendingUs: readonly number[], max: number, windowUs: number): number {
  const gaps = ascendingUs.slice(max).map((each, i) => each - (ascendingUs[i] as number));
  return (windowUs * gaps.length) / gaps.reduce((sum, each) => sum + each, 0);
}

/** Now, in microseconds of the system's monotonic clock. */
export const systemUs = (): number => Number(process.hrtime.bigint() / 1_000n);

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
