// The suites call tools and prompts by their own names. This stands between them and the aggregate, which has a server's
// prefix before each name, and maps the names both ways; everything else passes as it came.
import { createServer, request } from 'node:http';

const NAMED = /^(tools\/call|prompts\/get)$/;

export async function renamed(target, prefix) {
  const server = createServer(async (incoming, response) => {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const body = upward(Buffer.concat(chunks).toString(), prefix);
    const headers = { ...incoming.headers };
    delete headers['content-length'];
    const method = headers['mcp-method'];
    const name = headers['mcp-name'];
    if (name !== undefined && NAMED.test(String(method).trim())) headers['mcp-name'] = prefix + name.trim();
    const outgoing = request(target, { method: incoming.method, headers }, (answer) => {
      const own = { ...answer.headers };
      delete own['content-length'];
      response.writeHead(answer.statusCode, own);
      answer.setEncoding('utf8');
      answer.on('data', (chunk) => response.write(chunk.replaceAll(`"name":"${prefix}`, '"name":"')));
      answer.on('end', () => response.end());
      answer.on('error', () => response.destroy());
    });
    outgoing.on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
    outgoing.end(body);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const stop = () =>
    new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
  return { url: `http://127.0.0.1:${server.address().port}/mcp`, stop };
}

function upward(text, prefix) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return text;
  }
  const { method, params } = message;
  if (NAMED.test(method) && typeof params?.name === 'string') params.name = prefix + params.name;
  else if (method === 'completion/complete' && params?.ref?.name !== undefined)
    params.ref.name = prefix + params.ref.name;
  else return text;
  return JSON.stringify(message);
}
