import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PoolkitError } from '../../src/core/errors.js';
import type { ApplyReport } from '../../src/pool/McpPool.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { fingerprint } from '../../src/registry/config/fingerprint.js';
import {
  type FakeAnswer,
  FakeNet,
  fakeServer,
  fakeTransports,
  type Speaks,
  type Transport,
} from '../support/fakeTransports.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../support/runs.js';

const NAMES = ['a', 'b', 'c'];

/** What stands at an address, and how it is configured: with its type, without, or with nobody there. */
const KINDS: readonly (readonly [Speaks, Transport | undefined])[] = [
  ['stdio', 'stdio'],
  ['http', 'http'],
  ['sse', 'sse'],
  ['http', undefined],
  ['sse', undefined],
  ['nothing', 'http'],
  ['nothing', undefined],
];

interface Spec {
  readonly name: string;
  readonly speaks: Speaks;
  readonly transport: Transport | undefined;
  readonly version: number;
}

interface Held extends Spec {
  stopped: boolean;
}

const name = fc.constantFrom(...NAMES);
const spec: fc.Arbitrary<Spec> = fc
  .tuple(name, fc.constantFrom(...KINDS), fc.integer({ min: 0, max: 1 }))
  .map(([of, [speaks, transport], version]) => ({ name: of, speaks, transport, version }));

type Step =
  | { readonly do: 'add' | 'startNew'; readonly spec: Spec }
  | { readonly do: 'apply'; readonly specs: readonly Spec[] }
  | { readonly do: 'start' | 'stop' | 'restart' | 'remove' | 'request' | 'fly' | 'kill'; readonly name: string }
  | { readonly do: 'settle' | 'close' };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('add' as const, 'startNew' as const), spec }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('apply' as const),
      specs: fc.uniqueArray(spec, { selector: (each) => each.name }),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constantFrom(
        ...(['start', 'stop', 'restart', 'remove', 'request', 'request', 'fly', 'fly', 'fly', 'kill'] as const),
      ),
      name,
    }),
  },
  { weight: 2, arbitrary: fc.constant({ do: 'settle' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'close' as const }) },
);

const config = ({ name: of, speaks, transport, version }: Spec) => fakeServer(of, speaks, transport, version);

const isSame = (was: Spec, now: Spec): boolean => fingerprint(config(was)) === fingerprint(config(now));

type Outcome = { readonly ok: unknown } | { readonly code: string };

const outcome = (call: () => unknown): Promise<Outcome> =>
  new Promise((resolve) => resolve(call())).then(
    (ok) => ({ ok }),
    (error: unknown) => {
      if (error instanceof PoolkitError) return { code: error.code };
      throw error;
    },
  );

/** A pool over fake wires beside what it should be. */
class Trial {
  readonly net = new FakeNet();
  readonly pool = new UnifiedPool({ connectors: fakeTransports(this.net).connectors, ...OPTIONS });
  readonly held = new Map<string, Held>();
  readonly flights: Promise<void>[] = [];
  launched = 0;
  landed = 0;
  closed = false;

  async run(each: Step): Promise<void> {
    if (this.closed) return this.#afterClose(each);
    switch (each.do) {
      case 'add':
      case 'startNew':
        return this.#add(each.spec, each.do === 'startNew');
      case 'apply':
        return this.#apply(each.specs);
      case 'start':
        return this.#lifecycle(each.name, () => this.pool.startServer(each.name), false);
      case 'restart':
        return this.#lifecycle(each.name, () => this.pool.restartServer(each.name), false);
      case 'stop':
        return this.#lifecycle(each.name, () => this.pool.stopServer(each.name, { graceMs: 0 }), true);
      case 'remove': {
        const was = this.held.get(each.name);
        const end = await outcome(() => this.pool.removeServer(each.name, { graceMs: 0 }));
        expect(end).toEqual(was === undefined ? { code: 'ERR_SERVER_NOT_FOUND' } : { ok: undefined });
        this.held.delete(each.name);
        return;
      }
      case 'request':
        return this.#request(each.name);
      case 'fly':
        return this.#fly(each.name);
      case 'kill':
        return this.net.kill(each.name);
      case 'settle':
        await Promise.all(this.flights);
        return;
      case 'close':
        return this.close();
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.pool.close({ graceMs: 0 });
    await Promise.all(this.flights);
    expect(this.landed).toBe(this.launched);
    expect(this.net.live.size).toBe(0);
  }

  async #add(wanted: Spec, start: boolean): Promise<void> {
    const held = this.held.get(wanted.name);
    const again = start && held !== undefined && isSame(held, wanted);
    const end = await outcome(() =>
      start ? this.pool.startServer(config(wanted)) : this.pool.addServer(config(wanted)),
    );
    if (held !== undefined && !again) expect(end).toEqual({ code: 'ERR_OPTION' });
    else {
      this.held.set(wanted.name, { ...wanted, stopped: false });
      expect(end).toEqual(start && wanted.speaks === 'nothing' ? { code: 'ERR_START_FAILED' } : { ok: undefined });
    }
    this.#sameNames();
  }

  async #lifecycle(of: string, act: () => Promise<void>, stops: boolean): Promise<void> {
    const server = this.held.get(of);
    const end = await outcome(act);
    if (server === undefined) {
      expect(end).toEqual({ code: 'ERR_SERVER_NOT_FOUND' });
      return;
    }
    server.stopped = stops;
    if (stops) expect(this.pool.state(of)).toBe('stopped');
    // A try that was under way for another is joined; its pause is not.
    expect(end).toEqual(!stops && server.speaks === 'nothing' ? { code: 'ERR_START_FAILED' } : { ok: undefined });
  }

  async #request(of: string): Promise<void> {
    const server = this.held.get(of);
    const end = await outcome(() => this.pool.request(of, 'tools/call'));
    if (server === undefined) expect(end).toEqual({ code: 'ERR_SERVER_NOT_FOUND' });
    else if (server.stopped) expect(end).toEqual({ code: 'ERR_SERVER_STOPPED' });
    else if (server.speaks === 'nothing') {
      expect(['ERR_START_FAILED', 'ERR_BACKING_OFF']).toContain('code' in end && end.code);
    } else expect(end).toEqual({ ok: this.#answerOf(server) });
  }

  /** A call nobody waits for yet: whatever happens meanwhile, it settles once, and never by another server's answer. */
  #fly(of: string): void {
    this.launched++;
    const flight = outcome(() => this.pool.request(of, 'tools/call')).then((end) => {
      this.landed++;
      if ('ok' in end) expect((end.ok as FakeAnswer).name).toBe(of);
    });
    flight.catch(() => undefined);
    this.flights.push(flight);
  }

  async #apply(specs: readonly Spec[]): Promise<void> {
    const expected: Record<Exclude<keyof ApplyReport, 'updated'>, string[]> = {
      added: [],
      removed: [],
      restarted: [],
      unchanged: [],
    };
    const next = new Map<string, Held>();
    for (const each of specs) {
      const was = this.held.get(each.name);
      const kept = was !== undefined && isSame(was, each);
      expected[was === undefined ? 'added' : kept ? 'unchanged' : 'restarted'].push(each.name);
      next.set(each.name, { ...each, stopped: kept && was.stopped });
    }
    expected.removed = [...this.held.keys()].filter((of) => !next.has(of));
    const report = await this.pool.apply(specs.map(config));
    const merged = ({ added, removed, restarted, unchanged }: ApplyReport): unknown =>
      [added, removed, restarted, unchanged].map((names) => [...names].sort());
    expect(merged(report)).toEqual(merged(expected));
    this.held.clear();
    for (const [of, each] of next) this.held.set(of, each);
    this.#sameNames();
  }

  async #afterClose(each: Step): Promise<void> {
    if (each.do === 'request' || each.do === 'fly') {
      expect(await outcome(() => this.pool.request(each.name, 'tools/call'))).toEqual({ code: 'ERR_CLOSED' });
    } else if (each.do === 'add') {
      expect(await outcome(() => this.pool.addServer(config(each.spec)))).toEqual({ code: 'ERR_CLOSED' });
    } else if (each.do === 'apply') {
      expect(await outcome(() => this.pool.apply(each.specs.map(config)))).toEqual({ code: 'ERR_CLOSED' });
    }
  }

  #answerOf({ name: of, speaks, version }: Spec): FakeAnswer {
    return { name: of, wire: speaks as Transport, address: `${speaks}-${version}` };
  }

  #sameNames(): void {
    expect(this.pool.servers().sort()).toEqual([...this.held.keys()].sort());
  }
}

const OPTIONS = {
  stableAfterMs: 0,
  backoff: { initialMs: 1, maxMs: 1 },
  acquireTimeoutMs: 5_000,
  healthIntervalMs: Infinity,
};

test(
  'whatever is added, started, stopped, moved and called, each call settles once by its own server, and nothing lives on',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 24 }), async (steps) => {
        const trial = new Trial();
        try {
          for (const each of steps) await trial.run(each);
        } finally {
          if (!trial.closed) await trial.close();
        }
      }),
      { numRuns: RUNS },
    );
  },
  RUNS_TIMEOUT_MS,
);
