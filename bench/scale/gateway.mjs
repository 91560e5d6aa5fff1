// The gateway that `npm run scale` measures, in a process of its own with --expose-gc. argv[2]: JSON { servers, running, maxSessions, idleMs }. Answers
// each message { ask: 'memory' } with its heap and RSS after a collection.
import { randomBytes } from 'node:crypto';
import { Gateway } from 'mcp-poolkit/gateway';
import { UnifiedPool } from 'mcp-poolkit/pool';

const { servers, running, maxSessions, idleMs, server } = JSON.parse(process.argv[2]);
const pool = new UnifiedPool();
const before = memory();
for (let i = 0; i < servers; i++) {
  pool.addServer({ name: `s${i}`, transport: 'stdio', command: process.execPath, args: [server] });
}
const configured = memory();
for (let i = 0; i < running; i += 5) {
  await Promise.all([0, 1, 2, 3, 4].filter((j) => i + j < running).map((j) => pool.startServer(`s${i + j}`)));
}
const started = memory();
const gateway = new Gateway({ pool, port: 0, maxSessions, sessionIdleMs: idleMs, sessionKeys: [randomBytes(32)] });
const { url } = await gateway.listen();

function memory() {
  for (let i = 0; i < 3; i++) global.gc();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: heapUsed + external, rss };
}

process.on('message', async ({ ask }) => {
  if (ask === 'memory') process.send({ ...memory(), ...gateway.stats });
  if (ask === 'cpu') process.send(process.cpuUsage());
  if (ask === 'stop') {
    await gateway.close();
    await pool.close();
    process.disconnect();
  }
});
process.on('disconnect', () => process.exit());
const pids = pool.allStats().flatMap((each) => each.pids);
process.send({ url, before, configured, started, pids });
