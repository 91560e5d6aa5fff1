import type { Load } from './Load.js';
import { type ChaosRule, SERVERS, type ServerSpec } from './plan.js';
import type { PoolName, World } from './World.js';

type ActRule = Extract<ChaosRule, { kind: 'act' }>;

/** How long what was taken away stays away, in ms. */
const AWAY_MS = 400;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Does what the plan says at its times; resolves when all of it is done and undone. */
export async function act(world: World, load: Load, rules: readonly ChaosRule[]): Promise<void> {
  const acts = rules.filter((rule) => rule.kind === 'act');
  await Promise.all(
    acts.map(async (rule) => {
      await pause(rule.atMs);
      world.history.add({ type: 'fault', fault: rule.act, rule: `${rule.act} ${rule.target}`, server: rule.target });
      await perform(world, load, rule).catch((error: unknown) => {
        world.history.add({ type: 'note', text: `${rule.act} ${rule.target}: ${error}` });
      });
    }),
  );
}

async function perform(world: World, load: Load, { act, target }: ActRule): Promise<void> {
  const spec = SERVERS.find(({ name }) => name === target) as ServerSpec;
  switch (act) {
    case 'kill':
      for (const pid of pidsOf(world, spec)) signal(pid, 'SIGKILL');
      break;
    case 'freeze': {
      const pids = pidsOf(world, spec);
      for (const pid of pids) signal(pid, 'SIGSTOP');
      await pause(AWAY_MS);
      for (const pid of pids) signal(pid, 'SIGCONT');
      break;
    }
    case 'restart':
      await own(world, spec).restartServer(target);
      break;
    case 'stop':
      await own(world, spec).stopServer(target, { graceMs: 200 });
      await pause(AWAY_MS);
      await own(world, spec).startServer(target);
      break;
    case 'remove':
      await own(world, spec).removeServer(target, { graceMs: 200 });
      await pause(AWAY_MS);
      if (!own(world, spec).hasServer(target)) own(world, spec).addServer(world.configOf(spec));
      break;
    case 'apply':
      await world.apply(target as PoolName);
      break;
    case 'web-down': {
      await world.webs.get(target)?.down();
      await pause(AWAY_MS);
      await world.webs.get(target)?.up();
      break;
    }
    case 'redis-down':
      await world.redis.down();
      await pause(AWAY_MS);
      await world.redis.up();
      break;
    case 'redis-freeze':
      world.redis.signal('SIGSTOP');
      await pause(AWAY_MS);
      world.redis.signal('SIGCONT');
      break;
    case 'roll':
      if (target === 'gateway') await world.rollGateway();
      else world.roll(target as 'stdio' | 'http' | 'sse');
      break;
    case 'release-key':
      await world.poolOf(spec).releaseKey(target, 'alice-1', spec.pool === 'unified' ? {} : { principal: 'alice' });
      break;
    case 'burst':
      await load.burst(target, 40);
      break;
  }
}

const own = (world: World, spec: ServerSpec) => world.pool(spec.pool);

function pidsOf(world: World, spec: ServerSpec): readonly number[] {
  const pool = own(world, spec);
  return pool.hasServer(spec.name) ? pool.stats(spec.name).pids : [];
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // it is gone already
  }
}

/** After a storm that was broken off half way: every server is there, and nothing is stopped. */
export async function restore(world: World): Promise<void> {
  world.calmStarts();
  world.redis.signal('SIGCONT');
  await world.redis.up();
  for (const server of world.webs.values()) await server.up();
  for (const spec of SERVERS) {
    const pool = own(world, spec);
    if (!pool.hasServer(spec.name)) pool.addServer(world.configOf(spec));
    else if (['stopped', 'failed'].includes(pool.state(spec.name))) {
      await pool.startServer(spec.name).catch(() => undefined); // the calls that follow find out
    }
  }
}
