// The gateway in a server of node:http, beside what that serves already: clients connect to /mcp and /servers/<name>/mcp.
import { createServer, type Server } from 'node:http';
import type { Gateway } from 'mcp-poolkit/gateway';

export function serve(gateway: Gateway): Server {
  return createServer((request, response) => {
    if (request.url === '/') response.end('my own page');
    else gateway.handler(request, response);
  });
}
