import { randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { History } from '../../src/testing/history/History.js';
import { childPids } from '../../src/testing/procfs.js';
import { Load } from '../chaos/Load.js';
import { SERVERS } from '../chaos/plan.js';
import { Random } from '../chaos/random.js';
import { World } from '../chaos/World.js';
import { trendOf } from './slope.js';

/**
 * `npm run soak -- [--minutes M]`: constant load on four pools and the gateway, a server restarted every few seconds.
 * Heap, descriptors, children and timers must be flat: their growth over the run, after a warm-up, stays within bounds.
 */
const { values } = parseArgs({ options: { minutes: { type: 'string', default: '5' } } });
const minutes = Number(values.minutes);
if (!(minutes > 0)) {
  console.error(`--minutes: got ${values.minutes}, expected a number above 0`);
  process.exit(1);
}

const SAMPLE_MS = 2_000;
const RESTART_MS = 3_000;
const WORKERS = 16;
/** Of the run, what is not judged: caches fill, code is compiled. */
const WARM_UP_RATIO = 0.3;
/**
 * The most a figure may grow over the judged part: a share of its first value, or so much, whichever is more. On a busy
 * machine more connections are up at once, so that runs of a minute tell little; what each restart leaks adds up in five.
 */
const BOUNDS = { heapMiB: [0.1, 6], fds: [0.1, 40], children: [0.1, 10], timers: [0.2, 25] } as const;

const folder = mkdtempSync(join(tmpdir(), 'poolkit-soak-'));
process.env['XDG_STATE_HOME'] = join(folder, 'state');
// One event is kept: the history must not be what grows.
const history = new History({ maxEvents: 1 });
const world = await World.open({ history, folder, mark: randomUUID(), rules: [] });
const random = new Random(1);
const load = new Load(world, random, []);
const running = load.run(WORKERS);
const samples: Record<keyof typeof BOUNDS, number>[] = [];
const untilMs = performance.now() + minutes * 60_000;
let restartMs = performance.now() + RESTART_MS;
while (performance.now() < untilMs) {
  await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
  if (performance.now() > restartMs) {
    restartMs += RESTART_MS;
    const spec = random.pick(SERVERS);
    await world.pool(spec.pool).restartServer(spec.name);
  }
  globalThis.gc?.();
  samples.push({
    heapMiB: process.memoryUsage().heapUsed / 2 ** 20,
    fds: readdirSync('/proc/self/fd').length,
    children: childPids().length,
    timers: process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length,
  });
}
load.stop();
await running;
await world.close();
rmSync(folder, { recursive: true, force: true });

const judged = samples.slice(Math.floor(samples.length * WARM_UP_RATIO));
console.log(`soak: ${minutes} minutes, ${history.dropped} events, ${judged.length} samples judged`);
for (const [name, [ratio, least]] of Object.entries(BOUNDS)) {
  const { first, last, growth } = trendOf(judged.map((sample) => sample[name as keyof typeof BOUNDS]));
  const bound = Math.max(first * ratio, least);
  const flat = growth <= bound;
  if (!flat) process.exitCode = 2;
  const figures = `first ${first.toFixed(1)}, last ${last.toFixed(1)}, growth ${growth.toFixed(1)} of ${bound.toFixed(1)}`;
  console.log(`soak: ${flat ? 'flat' : 'GROWS'} ${name}: ${figures}`);
}
