import { expect, test } from 'vitest';
import { PoolkitError } from '../../src/core/errors.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { closeAfter } from '../support/closeAfter.js';
import { type HttpServerChild, sdkServer } from '../support/httpServers.js';
import { echo as echoFixture, said } from '../support/stdioPool.js';

const NAMES = ['stdio', 'http', 'sse'] as const;
type Name = (typeof NAMES)[number];

/** Keeps calls in flight to every server, and knows how each fares. */
class Load {
  readonly answered: Record<Name, number> = { stdio: 0, http: 0, sse: 0 };
  readonly failed: Record<Name, unknown[]> = { stdio: [], http: [], sse: [] };
  readonly #pool: UnifiedPool;
  readonly #victim: Name;
  readonly #workers: Promise<void>[] = [];
  #on = true;

  constructor(pool: UnifiedPool, width: number, victim: Name) {
    this.#pool = pool;
    this.#victim = victim;
    for (const name of NAMES) for (let i = 0; i < width; i++) this.#workers.push(this.#work(name, i));
  }

  /** Until so many more answers came from each of these. */
  async more(names: readonly Name[], count: number): Promise<void> {
    const wanted = names.map((name) => this.answered[name] + count);
    await expect
      .poll(() => names.every((name, i) => this.answered[name] >= (wanted[i] as number)), { timeout: 15_000 })
      .toBe(true);
  }

  async end(): Promise<void> {
    this.#on = false;
    await Promise.all(this.#workers);
  }

  async #work(name: Name, worker: number): Promise<void> {
    for (let i = 0; this.#on; i++) {
      const text = `${name} ${worker} ${i}`;
      const call = this.#pool.request(
        name,
        'tools/call',
        { name: 'echo', arguments: { text } },
        { timeoutMs: name === this.#victim ? 500 : 15_000 },
      );
      try {
        const answer = await said(call);
        if (answer !== text) throw new Error(`asked ${text}, was told ${answer}`);
        this.answered[name]++;
      } catch (error) {
        this.failed[name].push(error);
      }
      // A refusal comes at once: others run, too, and this process does not only call.
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

test.each(NAMES)(
  'with calls to all three wires in flight and the %s server hung, killed and back, the other two lose nothing',
  async (victim) => {
    const [http, sse] = await Promise.all([sdkServer('sessions'), sdkServer('sse')]);
    const pool = closeAfter(new UnifiedPool({ backoff: { initialMs: 1, maxMs: 20 }, breakerResetMs: 50 }));
    await pool.startAll([
      echoFixture([], { name: 'stdio' }),
      { name: 'http', transport: 'http', url: http.url, era: 'legacy' },
      { name: 'sse', transport: 'sse', url: sse.url },
    ]);
    const others = NAMES.filter((name) => name !== victim);
    const children: Partial<Record<Name, HttpServerChild>> = { http, sse };
    const load = new Load(pool, 4, victim);
    await load.more(NAMES, 20);
    const pid = children[victim]?.child.pid ?? (pool.stats('stdio').pids[0] as number);
    process.kill(pid, 'SIGSTOP');
    await load.more(others, 20);
    process.kill(pid, 'SIGKILL');
    await load.more(others, 20);
    const child = children[victim];
    if (child !== undefined) {
      await child.close();
      await sdkServer(victim === 'http' ? 'sessions' : 'sse', child.port);
    }
    await load.more(NAMES, 20);
    await load.end();
    for (const name of others) expect([name, load.failed[name]]).toEqual([name, []]);
    expect(load.failed[victim].length).toBeGreaterThan(0);
    for (const error of load.failed[victim]) expect(error).toBeInstanceOf(PoolkitError);
    expect(others.map((name) => pool.stats(name).restarts)).toEqual([0, 0]);
  },
  40_000,
);
