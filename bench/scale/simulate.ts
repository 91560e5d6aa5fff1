/**
 * What more machines would do, by a simulation: calls come at random (Poisson), the load balancer hands them to replicas in turn, each replica
 * works on one at a time for the CPU that a call costs, as measured on two cores. One of the replicas is killed halfway: nginx leaves it alone after its first failure.
 * Deterministic: a generator of its own, seeded.
 */
export interface Model {
  readonly replicas: number;
  readonly callsPerSec: number;
  /** CPU of the gateway for a call, in µs: one event loop is one core. */
  readonly cpuUs: number;
  readonly seconds: number;
  /** One replica is dead from half the time on. */
  readonly kill: boolean;
  readonly seed: number;
}

export interface Outcome {
  /** Of the replicas that live, in the second half. */
  readonly utilisation: number;
  readonly meanMs: number;
  readonly p99Ms: number;
  /** Calls in flight on the replica that was killed. */
  readonly lost: number;
}

export function run({ replicas, callsPerSec, cpuUs, seconds, kill, seed }: Model): Outcome {
  const random = mulberry(seed);
  const serviceMs = cpuUs / 1_000;
  const halfMs = (seconds * 1_000) / 2;
  /** When each has done what it has. */
  const freeMs = new Array<number>(replicas).fill(0);
  const waits: number[] = [];
  let [lost, turn, busyMs] = [0, 0, 0];
  for (let nowMs = 0; nowMs < seconds * 1_000; ) {
    nowMs += (-Math.log(1 - random()) / callsPerSec) * 1_000;
    const dead = kill && nowMs >= halfMs;
    let at = turn++ % replicas;
    if (dead && at === 0) at = turn++ % replicas;
    const doneMs = Math.max(nowMs, freeMs[at] as number) + serviceMs;
    freeMs[at] = doneMs;
    if (kill && at === 0 && nowMs < halfMs && doneMs > halfMs) lost++;
    if (nowMs < halfMs) continue;
    busyMs += serviceMs;
    waits.push(doneMs - nowMs);
  }
  waits.sort((a, b) => a - b);
  const alive = replicas - (kill ? 1 : 0);
  return {
    utilisation: busyMs / (halfMs * alive),
    meanMs: waits.reduce((sum, each) => sum + each, 0) / waits.length,
    p99Ms: waits[Math.floor(waits.length * 0.99)] ?? Number.NaN,
    lost,
  };
}

/** Tables of it, as Markdown. */
export function simulate(cpuUs = 60): string {
  const lines = [
    `Simulated, ${cpuUs} µs CPU a call, one replica of them killed halfway:`,
    '',
    '| replicas | calls/s | busy after the kill | mean | p99 | in flight on the dead one |',
    '|---|---|---|---|---|---|',
  ];
  for (const replicas of [2, 3, 5, 10, 20]) {
    for (const share of [0.3, 0.6]) {
      const callsPerSec = Math.round((replicas * share * 1e6) / cpuUs);
      const { utilisation, meanMs, p99Ms, lost } = run({
        replicas,
        callsPerSec,
        cpuUs,
        seconds: 4,
        kill: true,
        seed: 1,
      });
      const times =
        utilisation >= 1 ? ['grows without end', ''] : [`${meanMs.toFixed(2)} ms`, `${p99Ms.toFixed(2)} ms`];
      lines.push(
        `| ${[replicas, callsPerSec.toLocaleString('en-US'), `${Math.round(utilisation * 100)} %`, ...times, lost].join(' | ')} |`,
      );
    }
  }
  return lines.join('\n');
}

/** A small generator of numbers from 0 to 1, the same for each seed. */
function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
