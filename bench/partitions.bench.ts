import type { Connection, DisconnectReason } from '../src/connection/Connection.js';
import type { Connector, ConnectRequest } from '../src/pool/connectors/Connector.js';
import type { Caller } from '../src/pool/McpPool.js';
import { ServerPool } from '../src/pool/server/ServerPool.js';
import type { Bench } from './harness.js';

/** What an idle partition costs: bytes, timer callbacks and CPU, without transports, whose cost is another matter. */

const INFO = {
  era: 'legacy' as const,
  protocolVersion: '2025-11-25',
  capabilities: {},
  serverInfo: { name: 'memory', version: '1' },
  instructions: undefined,
};
const COUNTERS = { calls: 0, lateReplies: 0, garbage: 0, orphanRequests: 0, callbackErrors: 0 };

/** Answers at once, and holds no more than it must. */
class BareConnection implements Connection {
  readonly server = 'memory';
  readonly info = INFO;
  readonly pid = undefined;
  readonly startedAt = 1;
  readonly counters = COUNTERS;
  readonly inFlight = 0;
  readonly unsentBytes = 0;
  alive = true;
  #onClose: ((reason: DisconnectReason) => void) | undefined;

  request(): Promise<unknown> {
    return Promise.resolve('answer');
  }
  notify(): Promise<void> {
    return Promise.resolve();
  }
  onClose(listener: (reason: DisconnectReason) => void): Disposable {
    this.#onClose = listener;
    return { [Symbol.dispose]: () => undefined };
  }
  onNotification(): Disposable {
    return { [Symbol.dispose]: () => undefined };
  }
  setRequestHandler(): void {
    // It never asks.
  }
  async close(): Promise<void> {
    if (!this.alive) return;
    this.alive = false;
    this.#onClose?.({ expected: true, why: 'closed' });
  }
}

class BareConnector implements Connector {
  readonly transports = ['stdio'] as const;
  attributes(): boolean {
    return false;
  }
  async connect(_: ConnectRequest): Promise<Connection> {
    return new BareConnection();
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

class BarePool extends ServerPool {
  constructor(max: number) {
    super('BarePool', new BareConnector(), { maxConnections: max, maxConnectionsTotal: max });
  }
}

/** Counts the callbacks of every timer armed from now on. */
function countTimers(): { fired: number } {
  const count = { fired: 0 };
  const arm = globalThis.setTimeout;
  const counted = (callback: (...args: unknown[]) => void, ms?: number, ...args: unknown[]): NodeJS.Timeout =>
    arm(() => {
      count.fired++;
      callback(...args);
    }, ms);
  globalThis.setTimeout = Object.assign(counted, arm) as typeof setTimeout;
  return count;
}

function heapBytes(): number {
  globalThis.gc?.();
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

/** So many partitions of one server, each with a connection that did one call and idles. */
async function idlePartitions(
  bench: Bench,
  title: string,
  sharing: 'shared' | 'bound',
  callers: readonly Caller[],
  timers: { fired: number },
): Promise<void> {
  const pool = new BarePool(callers.length);
  pool.addServer({ name: 'memory', transport: 'stdio', command: 'none', sharing });
  const before = heapBytes();
  for (const caller of callers) {
    const answer: unknown = await pool.request('memory', 'ping', undefined, { caller });
    if (answer !== 'answer') throw new Error('a call went astray');
  }
  // What was made for the start is done, and what idles is parked.
  await new Promise((resolve) => setTimeout(resolve, 6_000));
  const bytes = (heapBytes() - before) / callers.length;
  if (pool.stats('memory').connections !== callers.length) throw new Error('a connection is missing');
  const fired = timers.fired;
  const cpu = process.cpuUsage();
  const seconds = bench.quick ? 4 : 8;
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  const { user, system } = process.cpuUsage(cpu);
  const perSec = (timers.fired - fired) / seconds;
  bench.note(
    `${title}: ${bytes.toFixed(0)} bytes each, ${((user + system) / 1_000 / seconds).toFixed(2)} ms of CPU a second`,
  );
  bench.target(`${title}: timer callbacks a second`, perSec, '<=', 5);
  bench.target(`${title}: bytes each`, bytes, '<=', 5_120);
  await pool.close({ graceMs: 0 });
}

export async function suite(bench: Bench): Promise<void> {
  const timers = countTimers();
  const sessions = Array.from({ length: 1_000 }, (_, i) => ({ key: `session-${i}` }));
  await idlePartitions(bench, '1,000 idle bound sessions', 'bound', sessions, timers);
  const principals = Array.from({ length: 10_000 }, (_, i) => ({ principal: `principal-${i}` }));
  await idlePartitions(bench, '10,000 idle partitions', 'shared', principals, timers);
}
