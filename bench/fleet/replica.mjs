// One replica of `npm run fleet`. argv[2]: JSON { port, redis, key, grants, limit, server, delayMs, refusingMs }. It is what docs/scaling.md describes: sessions by
// tickets, one Redis, one limit for all. The stamp of each permit goes to the file `grants` at once, so that a SIGKILL loses none: microseconds
// of the system's monotonic clock, which all processes share. Says `ready` when it serves.
import { openSync, writeSync } from 'node:fs';
import { Redis } from 'ioredis';
import { ClusterRateLimiter } from 'mcp-poolkit/concurrent';
import { addGateway, Gateway, RedisEventStore, RedisReplicas } from 'mcp-poolkit/gateway';
import { UnifiedPool } from 'mcp-poolkit/pool';
import { Health, ShutdownPlan } from 'mcp-poolkit/shutdown';

const { port, redis: at, key, grants, limit, server, delayMs, refusingMs } = JSON.parse(process.argv[2]);

// The limiter's last reading of the clock is the stamp of the grants it made then.
let nowMs = 0;
const clock = {
  now: () => {
    nowMs = Number(process.hrtime.bigint() / 1_000n) / 1_000;
    return nowMs;
  },
  wallNow: () => Date.now(),
  setTimer: (callback, delayMs, { ref = false } = {}) => {
    const timer = setTimeout(callback, delayMs);
    if (!ref) timer.unref();
    const cancel = () => clearTimeout(timer);
    return { cancel, ref: () => timer.ref(), unref: () => timer.unref(), [Symbol.dispose ?? Symbol()]: cancel };
  },
};

const redis = new Redis(at, { lazyConnect: true });
const limiter = new ClusterRateLimiter({ redis, clock, id: 'fleet', ...limit, acquireTimeoutMs: 60_000 });
const out = openSync(grants, 'a');
const stamp = () => writeSync(out, `${Math.round(nowMs * 1_000)}\n`);
const stamped = new Proxy(limiter, {
  get(target, name) {
    if (name === 'acquire') return (...args) => target.acquire(...args).then(stamp);
    if (name === 'tryAcquire')
      return (...args) => {
        const granted = target.tryAcquire(...args);
        if (granted) stamp();
        return granted;
      };
    const value = target[name];
    return typeof value === 'function' ? value.bind(target) : value;
  },
});

const plan = new ShutdownPlan({ propagationDelayMs: delayMs, totalMs: 15_000 });
plan.listen({ exit: true });
const pool = new UnifiedPool({ limiter: { for: ({ method }) => (method === 'tools/call' ? stamped : undefined) } });
const replicas = new RedisReplicas({ redis, aliveMs: 1_500 });
const eventStore = new RedisEventStore({ redis });
const gateway = new Gateway({ pool, port, sessionKeys: [key], replicas, eventStore, health: new Health({ plan }) });
addGateway(plan, gateway, { graceMs: 5_000, refusingMs });
plan.add('servers', pool, { phase: 'close' });
for (const [name, part] of Object.entries({ limiter, replicas, eventStore }))
  plan.add(name, part, { phase: 'release' });
await pool.startServer({ name: 'echo', transport: 'stdio', command: process.execPath, args: [server] });
await gateway.listen();
// Never outlives the program that started it.
process.on('disconnect', () => void plan.shutdown('its parent is gone'));
process.send('ready');
