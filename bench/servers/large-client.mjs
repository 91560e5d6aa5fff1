// A client of a gateway in a process of its own. Arguments: url, tool, ms to run, bytes. With bytes: calls of that size one behind the other, of which
// nothing is kept. With 0: a small call every 5 ms, whatever became of those before. At its end it prints what each took, in ms from when it was due.
import { Agent, request } from 'node:http';

const [url, name, ms, bytes] = [process.argv[2], process.argv[3], Number(process.argv[4]), Number(process.argv[5])];
const EVERY_MS = 5;
const agent = new Agent({ keepAlive: true });
let session = {};

function post(message) {
  return new Promise((resolve, reject) => {
    const accept = 'application/json, text/event-stream';
    const headers = { 'content-type': 'application/json', accept, ...session };
    const outgoing = request(url, { method: 'POST', agent, headers }, (incoming) => {
      let length = 0;
      let text = '';
      incoming.on('data', (chunk) => {
        length += chunk.length;
        if (length < 10_000) text += chunk;
      });
      incoming.on('end', () => resolve({ headers: incoming.headers, length, text }));
      incoming.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.end(JSON.stringify({ jsonrpc: '2.0', ...message }));
  });
}

const clientInfo = { name: 'bench', version: '1' };
const { headers } = await post({
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo },
});
session = { 'mcp-session-id': headers['mcp-session-id'] };
await post({ method: 'notifications/initialized' });
let calls = 0;
const call = async (args) => {
  const id = ++calls;
  const { length, text } = await post({ id, method: 'tools/call', params: { name, arguments: args } });
  if (bytes > 0 ? length < bytes : !text.includes(`"t${id}"`))
    throw new Error(`a wrong answer: ${length} bytes, ${text}`);
};
const small = () => call({ text: `t${calls + 1}` });
const large = () => call({ bytes });
// Whatever is made for the first call is made.
for (let i = 0; i < (bytes > 0 ? 1 : 200); i++) await (bytes > 0 ? large() : small());
console.log('ready');

const took = [];
const begin = performance.now();
if (bytes > 0) {
  while (performance.now() - begin < ms) {
    const startMs = performance.now();
    await large();
    took.push(performance.now() - startMs);
  }
} else {
  const open = new Set();
  for (let due = begin; due - begin < ms; due += EVERY_MS) {
    const waitMs = due - performance.now();
    if (waitMs > 0) await new Promise((done) => setTimeout(done, waitMs));
    const run = small().then(() => {
      took.push(performance.now() - due);
      open.delete(run);
    });
    open.add(run);
  }
  await Promise.all(open);
}
agent.destroy();
console.log(JSON.stringify(took));
