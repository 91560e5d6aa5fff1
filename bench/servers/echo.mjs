// The quickest MCP server there can be in Node: it answers `tools/call` with its text, a write per chunk it reads.
// An echo is cut out of its line unparsed, so that what is measured is the client; a caller that asks for progress is told of it once. Tool `sleep` answers after `ms`, tool `size` with a text of so many `bytes`.
const ID = /"id":(\d+)/;
const TEXT = /"text":("(?:[^"\\]|\\.)*")/;

const PROGRESS = /"progressToken":(\d+|"[^"]*")/;
const ECHO = { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] };

let rest = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', (chunk) => {
  const lines = (rest + chunk).split('\n');
  rest = lines.pop();
  let out = '';
  for (const line of lines) {
    if (line.includes('"name":"echo"')) {
      const token = PROGRESS.exec(line)?.[1];
      if (token !== undefined) {
        out += `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${token},"progress":1}}\n`;
      }
      out += `{"jsonrpc":"2.0","id":${ID.exec(line)[1]},"result":{"content":[{"type":"text","text":${TEXT.exec(line)[1]}}]}}\n`;
      continue;
    }
    const { id, method, params } = JSON.parse(line);
    if (id === undefined) continue;
    if (params?.name === 'sleep') {
      setTimeout(
        () => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', id, result: said('slept') })}\n`),
        params.arguments.ms,
      );
      continue;
    }
    out += `${JSON.stringify({ jsonrpc: '2.0', id, result: answer(method, params) })}\n`;
  }
  if (out !== '') process.stdout.write(out);
});
process.stdin.on('end', () => process.exit(0));

function said(text) {
  return { content: [{ type: 'text', text }] };
}

function answer(method, params) {
  switch (method) {
    case 'initialize':
      return {
        protocolVersion: params.protocolVersion,
        capabilities: { tools: {} },
        serverInfo: { name: 'echo', version: '1' },
      };
    case 'tools/list':
      return { tools: [{ name: 'echo', inputSchema: ECHO }] };
    case 'tools/call':
      return said(params.name === 'size' ? 'x'.repeat(params.arguments.bytes) : params.arguments.text);
    default:
      return {};
  }
}
