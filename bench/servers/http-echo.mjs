// The fastest MCP server we can write over HTTP: it answers `initialize`, `ping` and echoes, and does nothing else.
//   POST /json   answers with JSON          POST /sse    answers with an event stream
//   GET  /old    legacy HTTP+SSE, whose messages go to /message?session=n
import { createServer } from 'node:http';

const sessions = new Map();

function answer({ id, method, params }) {
  const result =
    method === 'initialize'
      ? {
          protocolVersion: params.protocolVersion,
          capabilities: { tools: {} },
          serverInfo: { name: 'echo', version: '1' },
        }
      : method === 'tools/list'
        ? {
            tools: [
              {
                name: 'echo',
                inputSchema: { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] },
              },
            ],
          }
        : method === 'tools/call'
          ? { content: [{ type: 'text', text: params.arguments.text }] }
          : {};
  return JSON.stringify({ jsonrpc: '2.0', id, result });
}

const server = createServer((req, res) => {
  if (req.method !== 'POST') {
    if (req.url !== '/old' || req.method !== 'GET') {
      res.writeHead(405).end();
      return;
    }
    const session = String(sessions.size + 1);
    sessions.set(session, res);
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write(`event: endpoint\ndata: /message?session=${session}\n\n`);
    return;
  }
  let body = '';
  req.setEncoding('utf8');
  req.on('data', (chunk) => {
    body += chunk;
  });
  req.on('end', () => {
    const message = JSON.parse(body);
    if (message.id === undefined) res.writeHead(202).end();
    else if (message.method === 'server/discover') res.writeHead(404).end();
    else if (req.url === '/json') res.writeHead(200, { 'content-type': 'application/json' }).end(answer(message));
    else if (req.url === '/sse') {
      res.writeHead(200, { 'content-type': 'text/event-stream' }).end(`event: message\ndata: ${answer(message)}\n\n`);
    } else {
      res.writeHead(202).end('Accepted');
      sessions.get(req.url.split('=')[1])?.write(`event: message\ndata: ${answer(message)}\n\n`);
    }
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
