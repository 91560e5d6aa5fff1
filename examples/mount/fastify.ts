// The gateway in a Fastify app, below /tools. Fastify has parsed the body by then: it is handed over with the raw request.
import type { IncomingMessage, Server } from 'node:http';
import fastify from 'fastify';
import type { Gateway } from 'mcp-poolkit/gateway';

export async function serve(gateway: Gateway): Promise<Server> {
  const app = fastify({ bodyLimit: 4 * 1_024 * 1_024 });
  app.get('/', () => 'my own page');
  app.all('/tools/*', (request, reply) => {
    reply.hijack();
    const raw: IncomingMessage & { body?: unknown } = request.raw;
    raw.body = request.body;
    gateway.handler(raw, reply.raw);
  });
  await app.ready();
  return app.server;
}
