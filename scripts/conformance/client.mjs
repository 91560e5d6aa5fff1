// The command that the suites run in their client role: the official SDK's client, straight at the suite's server or, with
// CONFORMANCE_THROUGH, through a gateway of this process. It lists all there is and uses each of it, or makes the calls that the
// scenario names.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Gateway } from '../../dist/gateway/index.js';
import { UnifiedPool } from '../../dist/pool/index.js';

const { MCP_CONFORMANCE_PROTOCOL_VERSION: version = '2025-11-25', MCP_CONFORMANCE_CONTEXT: context = '{}' } =
  process.env;
const { path, ...settings } = JSON.parse(process.env.CONFORMANCE_THROUGH ?? 'null') ?? {};
const modern = version >= '2026-07-28';
const [straight] = process.argv.slice(-1);

const { url, stop } = path === undefined ? { url: straight, stop: async () => undefined } : await startGateway();
const client = new Client(
  { name: 'conformance', version: '1' },
  {
    versionNegotiation: { mode: modern ? { pin: version } : 'legacy' },
    capabilities: { elicitation: { applyDefaults: true, form: { applyDefaults: true } }, sampling: {}, roots: {} },
  },
);
client.setRequestHandler('elicitation/create', ({ params }) => ({
  action: 'accept',
  // A client of defaults gives none of those that have one.
  content: sample({ ...params.requestedSchema, type: 'object' }, { defaults: true }),
}));
client.setRequestHandler('roots/list', () => ({ roots: [] }));
try {
  await client.connect(new StreamableHTTPClientTransport(new URL(url)));
  await useAll();
} finally {
  await client.close();
  await stop();
}

async function startGateway() {
  const pool = new UnifiedPool({ ledger: false });
  pool.addServer({ name: 's', transport: 'http', url: straight, ...settings });
  const gateway = new Gateway({ pool, port: 0 });
  const address = await gateway.listen();
  const end = async () => {
    await gateway.close({ graceMs: 0 });
    await pool.close({ graceMs: 2_000 });
  };
  return { url: address.url + path, stop: end };
}

async function useAll() {
  const { toolCalls } = JSON.parse(context);
  const { tools } = await client.listTools();
  const prefix = path === '/mcp' ? 's__' : '';
  const calls =
    toolCalls?.map((call) => ({ ...call, name: prefix + call.name })) ??
    tools.map(({ name, inputSchema }) => ({ name, arguments: sample(inputSchema, { schema: tools[0].inputSchema }) }));
  await settled(calls.map((call) => client.callTool(call)));
  const { resources, prompts } = client.getServerCapabilities() ?? {};
  if (resources !== undefined) {
    const listed = await client.listResources();
    await settled(listed.resources.map(({ uri }) => client.readResource({ uri })));
  }
  if (prompts !== undefined) {
    const listed = await client.listPrompts();
    await settled(listed.prompts.map(({ name }) => client.getPrompt({ name, arguments: {} })));
  }
}

/** What the server says to a call is the suite's to judge. */
async function settled(calls) {
  for (const { reason } of await Promise.allSettled(calls)) if (reason !== undefined) console.error(reason);
}

/** A value of that schema; `schema` stands for an argument that is to be one. */
function sample(wanted, { schema, defaults = false } = {}) {
  if (wanted.enum !== undefined) return wanted.enum[0];
  switch (wanted.type) {
    case 'object':
      return Object.fromEntries(
        Object.entries(wanted.properties ?? {}).flatMap(([name, each]) => {
          if (name === 'schema' && schema !== undefined) return [[name, schema]];
          return defaults && each.default !== undefined ? [] : [[name, sample(each, { schema })]];
        }),
      );
    case 'array':
      return [];
    case 'number':
    case 'integer':
      return 1;
    case 'boolean':
      return true;
    case 'null':
      return null;
    default:
      return 'x';
  }
}
