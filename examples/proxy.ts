// A proxy of your own over the servers of a config file.
import { addGateway, Gateway } from 'mcp-poolkit/gateway';
import { StdioPool } from 'mcp-poolkit/pool';
import { readConfigFile } from 'mcp-poolkit/registry';
import { ShutdownPlan } from 'mcp-poolkit/shutdown';

const plan = new ShutdownPlan();
plan.listen({ exit: true }); // SIGINT, SIGTERM, SIGHUP and SIGQUIT

const { servers, problems } = await readConfigFile(process.argv[2] ?? 'mcp.json');
for (const { message } of problems) console.error(message);

const pool = new StdioPool();
plan.add('servers', pool, { phase: 'close' });
await pool.startAll(servers); // one bad server never stops the others

const { content } = await pool.callTool('everything', 'echo', { message: 'hello' }, { timeoutMs: 5_000 });
console.log(content);

const gateway = new Gateway({ pool, port: Number(process.env['PORT'] ?? 3399) });
addGateway(plan, gateway); // readiness first, then no new calls; those in flight are answered before the servers end
console.log(`serving ${(await gateway.listen()).url}/mcp`);
