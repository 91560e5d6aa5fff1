// The gateway in a Hono app, below /tools, by web standard requests: the same on any host that has Node's modules.
import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import type { Gateway } from 'mcp-poolkit/gateway';

export function serve(gateway: Gateway): Server {
  const app = new Hono();
  app.get('/', (context) => context.text('my own page'));
  app.all('/tools/*', (context) => gateway.fetch(context.req.raw));
  return createAdaptorServer({ fetch: app.fetch }) as Server;
}
