// The gateway in an Express app, below /tools, behind a body parser: clients connect to /tools/mcp.
import { createServer, type Server } from 'node:http';
import express from 'express';
import type { Gateway } from 'mcp-poolkit/gateway';

export function serve(gateway: Gateway): Server {
  const app = express();
  app.use(express.json({ limit: '4mb' }));
  app.get('/', (_request, response) => void response.send('my own page'));
  app.use('/tools', gateway.handler);
  return createServer(app);
}
