// A proxy of your own: two servers over stdio, a rate limit for each, their tool lists cached on disk, and a shutdown
// that drops no call. Each server is at http://127.0.0.1:3398/<name>, for any MCP client that speaks Streamable HTTP.
// Node 22.18 or newer runs it as it is: node examples/custom-proxy.ts; Ctrl-C stops it.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { MultiServerRateLimiter } from 'mcp-poolkit/concurrent';
import type { PoolkitError } from 'mcp-poolkit/errors';
import { StdioPool } from 'mcp-poolkit/pool';
import { addHttpServer, Health, InFlight, ShutdownPlan } from 'mcp-poolkit/shutdown';
import { FileCache } from 'mcp-poolkit/toolstore';

type Message = { id?: string | number; method: string; params?: Record<string, unknown> };

const modules = 'node_modules/@modelcontextprotocol';
const node = { transport: 'stdio', command: process.execPath } as const;
const servers = [
  { ...node, name: 'everything', args: [`${modules}/server-everything/dist/index.js`, 'stdio'] },
  { ...node, name: 'filesystem', args: [`${modules}/server-filesystem/dist/index.js`, 'examples/files'] },
];

const plan = new ShutdownPlan({ propagationDelayMs: Number(process.env['PROPAGATION_MS'] ?? 0) });
plan.listen({ exit: true, onReport: (report) => console.log(String(report)) });
plan.beforeStop(() => console.log('stopping: answering what is in flight'));

await plan.start(async () => {
  const cache = new FileCache({ defaultTtlMs: 60_000 });
  plan.add('cache', cache, { phase: 'release' });
  const limiter = new MultiServerRateLimiter({ maxRequests: 200, windowMs: 1_000 });
  plan.add('limiter', limiter, { phase: 'background' });
  const pool = new StdioPool();
  plan.add('servers', pool, { phase: 'close' });
  for (const { name, error } of (await pool.startAll(servers)).failed) console.error(name, error.message);

  const listTools = async (name: string) => ({ tools: (await pool.listAll(name, 'tools')).items });
  async function answer(name: string, { method, params }: Message): Promise<unknown> {
    if (method === 'initialize') return pool.startServer(name).then(() => pool.info(name));
    if (method === 'tools/list') return { tools: (await cache.getOrLoadTools(name, () => listTools(name))).tools };
    await limiter.acquire(name);
    return pool.request(name, method, params);
  }

  const requests = new InFlight();
  const proxy = requests.listener(async (request, response) => {
    const message = await json(request).then(
      (body) => body as Message,
      () => undefined,
    );
    if (typeof message?.method !== 'string') return response.writeHead(400).end();
    if (message.id === undefined) return response.writeHead(202).end(); // a notification
    const outcome = await answer(request.url?.slice(1) ?? '', message).then(
      (result) => ({ result }),
      ({ message, code }: PoolkitError) => ({ error: { code: -32603, message, data: { code } } }),
    );
    response.setHeader('Content-Type', 'application/json');
    return response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, ...outcome }));
  });

  const checks = servers.map(({ name }) => [name, () => pool.state(name) === 'ready'] as const);
  const health = new Health({ plan, checks: Object.fromEntries(checks) });
  const server = createServer((request, response) => {
    if (health.nodeHandler(request, response)) return;
    // Browsers send an Origin; none of them has business here. Nor has a body without end.
    if (request.headers.origin !== undefined) response.writeHead(403).end();
    else if (request.method !== 'POST') response.writeHead(405).end();
    else if (!(Number(request.headers['content-length']) <= 1_000_000)) response.writeHead(413).end();
    else proxy(request, response);
  });
  addHttpServer(plan, server, { inFlight: requests });
  server.listen(Number(process.env['PORT'] ?? 3398), '127.0.0.1');
  await once(server, 'listening'); // a port that is taken is a start that failed
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port} as process ${process.pid}`);
});
