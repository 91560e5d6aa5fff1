import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { History } from '../../src/testing/history/History.js';
import { childPids, openFds } from '../../src/testing/procfs.js';
import { Load } from '../chaos/Load.js';
import { SERVERS } from '../chaos/plan.js';
import { Random } from '../chaos/random.js';
import { World } from '../chaos/World.js';
import { trendOf } from './slope.js';

/**
 * `npm run soak -- [--minutes M]`: constant load on four pools and the gateway, a server restarted every few seconds. Every
 * half minute the load pauses until what idles has ended; heap, descriptors, children and timers are read then, when nothing
 * but what is kept for ever is there, and must be flat. Under load they follow the load, and tell nothing of a leak.
 */
const { values } = parseArgs({ options: { minutes: { type: 'string', default: '5' } } });
const minutes = Number(values.minutes);
if (!(minutes > 0)) {
  console.error(`--minutes: got ${values.minutes}, expected a number above 0`);
  process.exit(1);
}

const LOAD_MS = 25_000;
const RESTART_MS = 2_500;
const WORKERS = 16;
/** Nothing has come or gone for so long: it is at rest. */
const REST_MS = 2_500;
const MAX_REST_MS = 60_000;
/** Of the run, what is not judged: caches fill, code is compiled. */
const WARM_UP_RATIO = 0.3;
/**
 * The most a figure may grow over the judged part, in its own unit or as a share of its first value, whichever is more. A
 * pause comes after ten restarts: one descriptor, timer or child that each of them left would be ten times the bound in
 * five minutes. Sockets are the exception: what is kept alive for the next call is kept for a minute, and follows the load of
 * that minute. The heap is read after a collection, and what the compiler keeps moves it by a megabyte or so.
 */
const BOUNDS = { heapMiB: [3, 0.05], files: [3, 0], sockets: [30, 0], children: [1, 0], timers: [3, 0] } as const;

type Sample = Record<keyof typeof BOUNDS, number>;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function sample(): Sample {
  globalThis.gc?.();
  const targets = [...openFds().values()];
  const sockets = targets.filter((each) => each.startsWith('socket:')).length;
  return {
    heapMiB: process.memoryUsage().heapUsed / 2 ** 20,
    files: targets.length - sockets,
    sockets,
    children: childPids().length,
    timers: process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length,
  };
}

/** When the counts have not changed for a while, or at the end of the time for it. */
async function atRest(): Promise<Sample> {
  const untilMs = performance.now() + MAX_REST_MS;
  let sinceMs = performance.now();
  let before = sample();
  while (performance.now() < untilMs && performance.now() - sinceMs < REST_MS) {
    await pause(250);
    const now = sample();
    const same =
      now.files === before.files &&
      now.sockets === before.sockets &&
      now.children === before.children &&
      now.timers === before.timers;
    if (!same) sinceMs = performance.now();
    before = now;
  }
  return before;
}

const folder = mkdtempSync(join(tmpdir(), 'poolkit-soak-'));
process.env['XDG_STATE_HOME'] = join(folder, 'state');
// One event is kept: the history must not be what grows.
const history = new History({ maxEvents: 1 });
const world = await World.open({ history, folder, mark: randomUUID(), rules: [], boundIdleMs: 1_500 });
const random = new Random(1);
const samples: Sample[] = [];
let restarts = 0;
const untilMs = performance.now() + minutes * 60_000;
while (performance.now() < untilMs) {
  const load = new Load(world, random.fork(samples.length), []);
  const running = load.run(WORKERS);
  for (const endMs = performance.now() + LOAD_MS; performance.now() < endMs; restarts++) {
    await pause(RESTART_MS);
    const spec = random.pick(SERVERS);
    // On a busy machine a start may take too long; the calls that follow start it again.
    await world
      .pool(spec.pool)
      .restartServer(spec.name)
      .catch(() => undefined);
  }
  load.stop();
  await running;
  samples.push(await atRest());
}
await world.close();
rmSync(folder, { recursive: true, force: true });

const judged = samples.slice(Math.floor(samples.length * WARM_UP_RATIO));
console.log(
  `soak: ${minutes} minutes, ${history.dropped} events, ${restarts} restarts, ${judged.length} of ${samples.length} pauses judged`,
);
for (const [name, [least, ratio]] of Object.entries(BOUNDS)) {
  const figures = judged.map((each) => each[name as keyof Sample]);
  const { first, last, growth } = trendOf(figures);
  const bound = Math.max(least, first * ratio);
  const flat = growth <= bound;
  if (!flat) process.exitCode = 2;
  console.log(
    `soak: ${flat ? 'flat' : 'GROWS'} ${name}: first ${first.toFixed(1)}, last ${last.toFixed(1)}, least ${Math.min(...figures).toFixed(1)}, most ${Math.max(...figures).toFixed(1)}, growth ${growth.toFixed(1)} of ${bound.toFixed(1)}`,
  );
}
