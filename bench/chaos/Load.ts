import type { Caller, RequestOptions } from '../../src/pool/McpPool.js';
import { type ChaosRule, SERVERS, type ServerSpec } from './plan.js';
import type { Random } from './random.js';
import { ANSWER, type World } from './World.js';

const PRINCIPALS = ['alice', 'bob', undefined] as const;
const KEYS = ['1', '2'] as const;
/** Longest call that a fault leaves without an answer, in ms. */
const SHORT_MS = 500;
/** How long a call of the storm waits for its turn, in ms. */
const STORM_WAIT_MS = 8_000;
/** How long a slow call takes that nothing cancels; see the slack of the checker. */
export const SLOW_MS = 2_500;

const TOOLS = ['echo', 'echo', 'echo', 'echo', 'progress', 'tell', 'late', 'changed', 'ask', 'helper', 'slow'] as const;

/** Callers of several principals and sessions, and what goes wrong with every so many of their calls. */
export class Load {
  readonly #world: World;
  readonly #random: Random;
  readonly #faults: readonly Extract<ChaosRule, { kind: 'fault' }>[];
  readonly #counts = new Map<string, number>();
  #running = true;

  constructor(world: World, random: Random, rules: readonly ChaosRule[]) {
    this.#world = world;
    this.#random = random;
    this.#faults = rules.filter((rule) => rule.kind === 'fault');
  }

  stop(): void {
    this.#running = false;
  }

  /** Calls until it is stopped; resolves when its calls have settled. */
  async run(workers: number): Promise<void> {
    await Promise.all(Array.from({ length: workers }, () => this.#work()));
  }

  /** Many at once to one server. */
  async burst(name: string, count: number): Promise<void> {
    const spec = SERVERS.find((each) => each.name === name);
    if (spec === undefined) return;
    await Promise.all(Array.from({ length: count }, () => this.#call(spec, 'echo')));
  }

  /** Every server answers again, for every principal: asked until it does. */
  async settle(untilMs: number): Promise<void> {
    await Promise.all(
      everyone().map(async ({ spec, caller }) => {
        while (performance.now() < untilMs) {
          if (await this.#send(spec, 'echo', {}, { caller })) return;
          await pause(40);
        }
      }),
    );
  }

  /** Calls that nothing could fail: more at once than there are slots, so that most of them wait. */
  async quiet(count: number): Promise<void> {
    const bounds = { timeoutMs: 40_000, acquireTimeoutMs: 40_000 };
    await Promise.all(
      SERVERS.map(async (spec) => {
        const one = async (index: number): Promise<void> => {
          const caller = callerOf(spec, PRINCIPALS[index % PRINCIPALS.length], KEYS[index % KEYS.length] ?? '1');
          const tool = index % 5 === 4 ? 'progress' : 'echo';
          const onProgress = { onProgress: () => undefined };
          await this.#send(spec, tool, {}, { ...bounds, caller, ...(tool === 'progress' && onProgress) });
        };
        await Promise.all(Array.from({ length: count }, (_, index) => one(index)));
      }),
    );
  }

  async #work(): Promise<void> {
    while (this.#running) {
      const spec = this.#random.pick(SERVERS);
      const dice = this.#random.next();
      if (spec.sharing === 'leased' && dice < 0.4) await this.#lease(spec);
      else if (dice > 0.96) await this.#list(spec);
      else if (spec.pool === 'unified' && dice > 0.85) await this.#aggregate(spec);
      else await this.#call(spec, this.#random.pick(TOOLS));
      await pause(this.#random.whole(0, 12));
    }
  }

  /** What goes wrong with the next call to a server. */
  #fault(server: string): string | undefined {
    const count = (this.#counts.get(server) ?? 0) + 1;
    this.#counts.set(server, count);
    return this.#faults.find((rule) => rule.server === server && count % rule.every === 0)?.fault;
  }

  async #call(spec: ServerSpec, tool: string): Promise<void> {
    const random = this.#random;
    const fault = this.#fault(spec.name);
    const caller = callerOf(spec, random.pick(PRINCIPALS), random.pick(KEYS));
    // What a server over HTTP leaves behind is not the pool's to end.
    if (tool === 'helper' && spec.kind !== 'stdio') return;
    const slow = tool === 'slow';
    const abort = slow || random.chance(0.1) ? new AbortController() : undefined;
    const options: RequestOptions = {
      caller,
      acquireTimeoutMs: STORM_WAIT_MS,
      ...(random.chance(0.25) && { idempotent: true }),
      ...(random.chance(0.2) && { raw: true }),
      ...(random.chance(0.1) && { deadlineMs: random.whole(50, 3_000) }),
      ...(slow && { timeoutMs: 10_000 }),
      ...(fault !== undefined && !slow && { timeoutMs: SHORT_MS }),
      ...(abort && { signal: abort.signal }),
      ...((tool === 'progress' || random.chance(0.1)) && { onProgress: () => undefined }),
      ...(random.chance(0.5) && { onNotification: () => undefined }),
      ...(tool === 'ask' && spec.sharing === 'bound' && { onRequest: async () => ANSWER }),
    };
    const timer = abort === undefined ? undefined : setTimeout(() => abort.abort(), random.whole(0, slow ? 80 : 30));
    await this.#send(spec, tool, { ...(fault !== undefined && { fault }), ...(slow && { ms: SLOW_MS }) }, options);
    clearTimeout(timer);
  }

  /** True when it was answered. What fails is the checker's business. */
  async #send(spec: ServerSpec, tool: string, args: object, options: RequestOptions): Promise<boolean> {
    const params = { name: tool, arguments: { text: 'x', ...args } };
    return settled(this.#world.poolOf(spec).request(spec.name, 'tools/call', params, options));
  }

  async #list(spec: ServerSpec): Promise<void> {
    const caller = callerOf(spec, this.#random.pick(PRINCIPALS), this.#random.pick(KEYS));
    await settled(
      this.#world.poolOf(spec).request(spec.name, 'tools/list', {}, { caller, acquireTimeoutMs: STORM_WAIT_MS }),
    );
  }

  /** The same server by the gateway's aggregate. */
  async #aggregate(spec: ServerSpec): Promise<void> {
    const params = { name: `${spec.name}__echo`, arguments: { text: 'x' } };
    const caller = callerOf(spec, this.#random.pick(PRINCIPALS), this.#random.pick(KEYS));
    await settled(
      this.#world.pool('outer').request('all', 'tools/call', params, { caller, acquireTimeoutMs: STORM_WAIT_MS }),
    );
  }

  async #lease(spec: ServerSpec): Promise<void> {
    const caller = callerOf(spec, this.#random.pick(PRINCIPALS), '1');
    const calls = this.#random.whole(1, 3);
    const fault = this.#fault(spec.name);
    try {
      const lease = await this.#world.poolOf(spec).lease(spec.name, { caller, acquireTimeoutMs: STORM_WAIT_MS });
      for (let call = 0; call < calls; call++) {
        const args = { text: 'x', ...(call === 0 && fault !== undefined && { fault }) };
        const params = { name: this.#random.pick(['echo', 'progress', 'late']), arguments: args };
        await settled(lease.request('tools/call', params, { timeoutMs: SHORT_MS }));
      }
      lease.release();
    } catch {
      // no lease to be had: nothing was called
    }
  }
}

function callerOf(spec: ServerSpec, principal: string | undefined, key: string): Caller {
  // The gateway knows sessions, and no principals.
  if (spec.pool === 'unified') return { key: `${principal ?? 'no one'}-${key}`, capabilities: { sampling: {} } };
  return {
    ...(principal !== undefined && { principal }),
    ...(spec.sharing === 'bound' && { key: `${principal ?? 'no one'}-${key}`, capabilities: { sampling: {} } }),
  };
}

/** Every caller of every server. */
function everyone(): { readonly spec: ServerSpec; readonly caller: Caller }[] {
  return SERVERS.flatMap((spec) =>
    PRINCIPALS.flatMap((principal) => KEYS.map((key) => ({ spec, caller: callerOf(spec, principal, key) }))),
  );
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function settled(call: Promise<unknown>): Promise<boolean> {
  return call.then(
    () => true,
    () => false,
  );
}
