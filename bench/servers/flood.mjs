// An MCP server over stdio that floods as its argument says, from the `initialized` notification on.
import { createInterface } from 'node:readline';

const kind = process.argv[2];
const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
const line = (message) => `${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`;
const ODD = '{"jsonrpc":"2.0","id":{"valueOf":1},"result":{}}\n';
const UNITS = {
  'lines of one byte': 'x\n',
  'broken JSON': '{x\n',
  'tiny JSON': '{}\n',
  'odd ids': ODD,
  'log messages': line({ method: 'notifications/message', params: { level: 'info', data: 'x' } }),
  'list changes': line({ method: 'notifications/tools/list_changed' }),
  pings: line({ id: 'p', method: 'ping' }),
  'unknown requests': line({ id: 'u', method: 'who/knows' }),
};
let flooding = false;
function flood() {
  if (flooding) return;
  flooding = true;
  const chunk = (UNITS[kind] ?? '').repeat(2_000);
  const more = () => {
    const to = kind === 'stderr lines' ? process.stderr : process.stdout;
    if (to.write(kind === 'stderr lines' ? 'x\n'.repeat(2_000) : chunk)) setImmediate(more);
    else to.once('drain', more);
  };
  if (kind !== 'none') more();
}
createInterface({ input: process.stdin }).on('line', (text) => {
  const { id, method, params } = JSON.parse(text);
  if (method === 'initialize') {
    const { protocolVersion } = params;
    const capabilities = { tools: { listChanged: true }, logging: {} };
    send({ id, result: { protocolVersion, capabilities, serverInfo: { name: 'flood', version: '1' } } });
  } else if (method === 'notifications/initialized') setTimeout(flood, 100);
  else if (id !== undefined && method !== undefined) send({ id, result: { content: [] } });
});
