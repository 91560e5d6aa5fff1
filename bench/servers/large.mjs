// An MCP server whose tool `size` answers with a text of so many `bytes`, written in parts of 64 KiB as fast as they are read. Over stdio, or with `--http` at
// /json (a JSON body) and /events (an event stream). `--id-last`: the id stands behind the result, where the SDK of TypeScript writes it.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

const idLast = process.argv.includes('--id-last');
const PART = Buffer.alloc(64 * 1024, 'x');

/** Writes the answer to a request. */
async function answer({ id, method, params }, out, before = '', after = '\n') {
  const put = async (bytes) => {
    if (!out.write(bytes) && !out.destroyed) await once(out, 'drain');
  };
  if (params?.name !== 'size') {
    const result =
      method === 'initialize'
        ? {
            protocolVersion: params.protocolVersion,
            capabilities: { tools: {} },
            serverInfo: { name: 'large', version: '1' },
          }
        : method === 'tools/list'
          ? { tools: [{ name: 'size', inputSchema: { type: 'object' } }] }
          : {};
    await put(`${before}${JSON.stringify({ jsonrpc: '2.0', id, result })}${after}`);
    return;
  }
  const head = idLast ? '{' : `{"jsonrpc":"2.0","id":${id},`;
  const tail = idLast ? `,"jsonrpc":"2.0","id":${id}}` : '}';
  await put(`${before}${head}"result":{"content":[{"type":"text","text":"`);
  for (let left = params.arguments.bytes; left > 0; left -= PART.length) {
    await put(left < PART.length ? PART.subarray(0, left) : PART);
  }
  await put(`"}]}${tail}${after}`);
}

if (process.argv.includes('--http')) {
  const server = createServer(async (req, res) => {
    if (req.method !== 'POST') {
      res.writeHead(405).end();
      return;
    }
    let body = '';
    for await (const chunk of req.setEncoding('utf8')) body += chunk;
    const message = JSON.parse(body);
    if (message.id === undefined) res.writeHead(202).end();
    else if (message.method === 'server/discover') res.writeHead(404).end();
    else {
      const events = req.url === '/events';
      res.writeHead(200, { 'content-type': events ? 'text/event-stream' : 'application/json' });
      await answer(message, res, events ? 'data: ' : '', events ? '\n\n' : '');
      res.end();
    }
  });
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
} else {
  let writing = Promise.resolve();
  createInterface({ input: process.stdin }).on('line', (line) => {
    const message = JSON.parse(line);
    if (message.id !== undefined) writing = writing.then(() => answer(message, process.stdout));
  });
  process.stdin.on('end', () => process.exit(0));
}
