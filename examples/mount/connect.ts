// The gateway in a Connect app: what is not for it goes on to the next.
import { createServer, type Server } from 'node:http';
import connect from 'connect';
import type { Gateway } from 'mcp-poolkit/gateway';

export function serve(gateway: Gateway): Server {
  const app = connect();
  app.use(gateway.handler);
  app.use('/', (_request, response) => void response.end('my own page'));
  return createServer(app);
}
