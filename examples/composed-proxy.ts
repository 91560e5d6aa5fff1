import { once } from 'node:events';
import { createServer } from 'node:http';
import { FileTokenStore, UpstreamOAuth } from 'mcp-poolkit/auth';
import { Bulkhead, MultiServerRateLimiter } from 'mcp-poolkit/concurrent';
import { addGateway, bearerTokens, Gateway } from 'mcp-poolkit/gateway';
import { audit, cache, limit, Pins, redact } from 'mcp-poolkit/middleware';
import { Instrument, prometheusRegistry } from 'mcp-poolkit/observe';
import { UnifiedPool } from 'mcp-poolkit/pool';
import type { ServerConfig } from 'mcp-poolkit/registry';
import { addHttpServer, Health, ShutdownPlan } from 'mcp-poolkit/shutdown';
import { destination, pino } from 'pino';

// Shutdown first, so that a signal finds it whatever has been started by then.
const plan = new ShutdownPlan();
plan.listen({ exit: true, onReport: (report) => console.error(String(report)) });

// Servers over three transports in one pool.
const modules = 'node_modules/@modelcontextprotocol';
const servers: ServerConfig[] = [
  {
    name: 'everything',
    transport: 'stdio',
    command: process.execPath,
    args: [`${modules}/server-everything/dist/index.js`, 'stdio'],
  },
];
const { HTTP_SERVER, SSE_SERVER } = process.env;
if (HTTP_SERVER) servers.push({ name: 'web', transport: 'http', url: HTTP_SERVER });
if (SSE_SERVER) servers.push({ name: 'older', transport: 'sse', url: SSE_SERVER });

// An account of this proxy's own at a server (OAuth): tokens are fetched and renewed, one for each user.
const oauth = new UpstreamOAuth({ store: new FileTokenStore() });
const { OAUTH_SERVER, OAUTH_ISSUER = '', OAUTH_SECRET = '' } = process.env;
if (OAUTH_SERVER) {
  const account = { clientId: 'proxy', clientSecret: OAUTH_SECRET, issuer: OAUTH_ISSUER };
  const auth = { type: 'oauth', grant: 'client_credentials', scopes: ['tools'], ...account } as const;
  servers.push({ name: 'account', transport: 'http', url: OAUTH_SERVER, auth });
}

// No user takes more than 50 calls a second of any server.
const rate = new MultiServerRateLimiter({
  maxRequests: 50,
  windowMs: 1_000,
  keyOf: ({ server, caller }) => `${server} ${caller?.principal ?? ''}`,
});
plan.add('limits', rate, { phase: 'background' });
const pool = new UnifiedPool({ limiter: rate, credentials: oauth.credentials });
plan.add('servers', pool, { phase: 'close' });

// Around every call to a server: the first stands outermost.
const logger = pino(destination(2));
const pins = new Pins({ logger });
pool.use(audit({ logger }));
pool.use(redact({ patterns: ['sk-[A-Za-z0-9]{16,}'] }));
pool.use(cache());
pool.use(pins.middleware);
for (const { name, error } of (await pool.startAll(servers)).failed) console.error(name, error.message);

// Users by token; no more than four calls of one user at a time.
const health = new Health({ plan });
const gateway = new Gateway({
  pool,
  health,
  authenticate: bearerTokens({ [process.env['TOKEN'] ?? 'only-for-a-first-try']: 'me' }),
});
const bulkhead = new Bulkhead({ maxConcurrent: 4 });
plan.add('bulkhead', bulkhead, { phase: 'background' });
gateway.use(limit({ bulkhead }));

// Metrics, and the gateway below a path of a server that serves other things, too.
const registry = await prometheusRegistry(new Instrument({ pool }));
const server = createServer(async (request, response) => {
  if (health.nodeHandler(request, response)) return;
  if (request.url === '/metrics') response.end(await registry.metrics());
  else gateway.handler(request, response);
});
addGateway(plan, gateway);
addHttpServer(plan, server);
// What fails in here, such as a port that is taken, ends the plan: the servers end, and the exit code is 1.
await plan.start(async () => {
  server.listen(Number(process.env['PORT'] ?? 3397), '127.0.0.1');
  await once(server, 'listening');
  console.log('listening', JSON.stringify(server.address()));
});
