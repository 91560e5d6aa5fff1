import { expect, test, vi } from 'vitest';
import { configFile, mark, run } from '../support/cli.js';
import { fixture } from '../support/servers.js';

// Programs start here, several at once, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

const ECHO = fixture('echo-server.mjs');

/** Two tools that clients cannot take, and pages whose cursor stays. */
const ODD = `
  let page = 0;
  require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const { id, method, params } = JSON.parse(line);
    const result = {
      initialize: () => ({ protocolVersion: params.protocolVersion, capabilities: { tools: {}, prompts: {} }, serverInfo: { name: 'odd', version: '1' } }),
      ping: () => ({}),
      'tools/list': () => ({ tools: [null, { name: 'fine', inputSchema: { type: 'object' } }, { name: 'bare' }] }),
      'prompts/list': () => ({ prompts: [{ name: 'p' + page++ }], nextCursor: 'same' }),
    }[method];
    if (id !== undefined) console.log(JSON.stringify({ jsonrpc: '2.0', id, result: result ? result() : {} }));
  });`;

test('one line a server, shared, bound or switched off; nothing is left alive', async () => {
  const { env, bearers } = mark();
  const server = { command: process.execPath, args: [ECHO], env };
  const file = configFile({ shared: server, own: { ...server, sharing: 'bound' }, off: { ...server, enabled: false } });
  const { code, stdout, stderr } = await run('doctor', '--config', file);
  // The fixture says that it has resources, and knows no such list.
  expect([code, stderr]).toEqual([1, '']);
  expect(stdout).toMatch(
    /^ {2}warning shared {2}stdio, MCP 2025-11-25, 1 tools, ready in \d+ ms\n {10}no method resources\/list$/m,
  );
  expect(stdout).toMatch(/^ {2}warning own {5}stdio, MCP 2025-11-25, 1 tools, /m);
  expect(stdout).toMatch(/^ {2}off {5}off {5}stdio$/m);
  expect(bearers()).toEqual([]);
});

test('what is wrong is said per server: failed starts, items left out, cursors that stay, variables unset', async () => {
  const file = configFile({
    odd: { command: process.execPath, args: ['-e', ODD] },
    missing: { command: 'no-such-program-here' },
    ends: { command: process.execPath, args: ['-e', 'console.error("no database"); process.exit(3)'] },
    many: { command: process.execPath, args: ['-e', ODD.replace('[null, ', '[...new Array(100), ')] },
    unset: { command: 'cat', env: { TOKEN: `\${POOLKIT_SURELY_UNSET}` } },
  });
  const { code, stdout, stderr } = await run('doctor', '--config', file, '--json');
  expect([code, stderr]).toEqual([1, '']);
  const report = JSON.parse(stdout) as {
    ok: boolean;
    servers: { name: string; verdict: string; tools?: number; prompts?: number; problems: string[] }[];
    problems: { server: string; field: string; message: string }[];
  };
  expect(report.ok).toBe(false);
  expect(report.problems).toMatchObject([{ server: 'unset', field: 'env.TOKEN' }]);
  const [odd, missing, ends, many] = report.servers;
  expect(odd).toMatchObject({ name: 'odd', verdict: 'warning', tools: 3, prompts: 2 });
  expect(odd?.problems).toEqual([
    'left out: tools[0]: it is no object',
    'left out: tools[2] "bare": its inputSchema is no schema of an object',
    'prompts/list: a cursor of a list came twice: the list ends there',
  ]);
  expect(missing).toMatchObject({ verdict: 'failed', problems: [expect.stringContaining('no program')] });
  expect(many?.problems).toHaveLength(22);
  expect(many?.problems[20]).toBe('81 more of the kind');
  expect(ends).toMatchObject({ verdict: 'failed', problems: [expect.stringContaining('no database')] });
});

test('a server that works without a remark is ok, and a config without problems exits with 0', async () => {
  const file = configFile({
    s: {
      command: process.execPath,
      args: ['-e', ODD.replace('[null, ', '[').replace(`, { name: 'bare' }`, '').replace(', prompts: {}', '')],
    },
  });
  const { code, stdout } = await run('doctor', '--config', file);
  expect(stdout).toMatch(/^ {2}ok {6}s {2}stdio, MCP 2025-11-25, 1 tools, ready in \d+ ms$/m);
  expect(code).toBe(0);
});

test('a config that cannot be read is said, with exit code 1', async () => {
  const { code, stdout } = await run('doctor', '--config', '/no/such/mcp.json');
  expect([code, stdout]).toEqual([1, expect.stringContaining('no such file')]);
});

test('a server that offers nothing, no templates of resources either, is told as such, and what it forgot to declare', async () => {
  const mute = (declared: object): string =>
    ODD.replace('{ tools: {}, prompts: {} }', JSON.stringify(declared)).replace(/\[null, .*bare' \}\]/, '[]');
  const TEMPLATES = `
    'resources/list': () => ({ resources: [] }),
    'resources/templates/list': () => ({ resourceTemplates: [{ name: 't', uriTemplate: 'a:{b}' }] }),
    'prompts/list'`;
  const file = configFile({
    undeclared: { command: process.execPath, args: ['-e', mute({ logging: {} })] },
    empty: { command: process.execPath, args: ['-e', mute({ tools: {} })] },
    templates: {
      command: process.execPath,
      args: ['-e', mute({ resources: {} }).replace("'prompts/list'", TEMPLATES)],
    },
  });
  const { code, stdout } = await run('doctor', '--config', file);
  expect(code).toBe(1);
  expect(stdout).toMatch(
    /warning undeclared .*\n +it declares no tools, prompts or resources: clients get nothing of it\n +-> a server is asked for what/,
  );
  expect(stdout).toMatch(
    /warning empty .*0 tools.*\n +it lists no tools, prompts or resources: clients get nothing of it\n(?! +->)/,
  );
  expect(stdout).toMatch(/ok +templates .*0 resources/);
});
