// The gateway in a Koa app, below /tools: Koa leaves the response to it.
import { createServer, type Server } from 'node:http';
import Koa from 'koa';
import type { Gateway } from 'mcp-poolkit/gateway';

export function serve(gateway: Gateway): Server {
  const app = new Koa();
  app.use(async (context, next) => {
    if (!context.path.startsWith('/tools/')) return next();
    context.respond = false;
    return gateway.handler(context.req, context.res);
  });
  app.use((context) => {
    context.body = 'my own page';
  });
  return createServer(app.callback());
}
