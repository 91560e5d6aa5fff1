import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { join } from 'node:path';
import { encode } from 'gpt-tokenizer';
import { expect, test, vi } from 'vitest';
import { tokensOf } from '../../src/cli/doctor/tokens.js';
import { searchTools } from '../../src/gateway/curation/ToolSearch.js';
import { configFile, mark, run } from '../support/cli.js';
import { closeAfter } from '../support/closeAfter.js';
import { tempFolder } from '../support/tempFolder.js';

vi.setConfig({ testTimeout: 60_000 });

/** A server of the legacy era with those answers. */
const server = (lists: string) => `
  require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const { id, method, params } = JSON.parse(line);
    const result = {
      initialize: () => ({ protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 's', version: '1' } }),
      ${lists}
    }[method];
    if (id !== undefined && (method !== 'tools/list' || result)) console.log(JSON.stringify({ jsonrpc: '2.0', id, result: result ? result() : {} }));
  });`;

async function answering(listener: RequestListener): Promise<string> {
  const http = createServer(listener).listen(0, '127.0.0.1');
  await once(http, 'listening');
  closeAfter({
    close: async () => {
      http.closeAllConnections();
      http.close();
      await once(http, 'close');
    },
  });
  return `http://127.0.0.1:${(http.address() as { port: number }).port}/mcp`;
}

test('a config without servers is no config to be content with', async () => {
  const { code, stdout } = await run('doctor', '--config', configFile({}));
  expect(stdout).toMatch(/^ {2}failed {2}.*mcp\.json: there are no servers in it$/m);
  expect(code).toBe(1);
});

test('of ten broken servers of different kinds it says what to do, also of one that hangs', async () => {
  const folder = tempFolder();
  const plain = join(folder, 'plain.txt');
  writeFileSync(plain, 'not a program', { mode: 0o644 });
  const { env, bearers } = mark();
  const node = process.execPath;
  const startTimeoutMs = 4_000;
  const refusing = await answering((_, response) => response.writeHead(401).end());
  const wrongPath = await answering((_, response) => response.writeHead(404).end());
  const table: [string, object, RegExp, RegExp][] = [
    [
      'missing',
      { command: 'no-such-program-here' },
      /no program|ENOENT/,
      /install no-such-program-here, or give its full path/,
    ],
    [
      'shell',
      { command: 'npx -y some-server' },
      /ENOENT|no program/,
      /the first word is the command: put the others into args/,
    ],
    ['forbidden', { command: plain }, /may not be executed/, /chmod \+x/],
    [
      'folder',
      { command: node, cwd: join(folder, 'none') },
      /folder|directory|cwd/,
      /make the folder .*none, or correct cwd/,
    ],
    [
      'ends',
      { command: node, args: ['-e', 'process.exit(3)'] },
      /ended at once|code 3/,
      /it ended by itself: see what it says; run it by hand: .*-e/,
    ],
    ['module', { command: node, args: [join(folder, 'gone.js')] }, /Cannot find module/, /install what it lacks/],
    [
      'mute',
      { command: node, args: ['-e', 'setInterval(() => {}, 1000)'] },
      /./,
      /it did not answer in time: .*raise startTimeoutMs/,
    ],
    [
      'silent',
      { command: node, args: ['-e', server('')] },
      /tools\/list: no answer within/,
      /it shakes hands and hangs after that/,
    ],
    [
      'refused',
      { url: 'http://127.0.0.1:9/mcp', type: 'http' },
      /ECONNREFUSED|bad port|refused/i,
      /nothing listens at|see whether url/,
    ],
    ['token', { url: refusing, type: 'http' }, /401|unauthorized/i, /"Authorization": "Bearer \$\{YOUR_TOKEN\}"/],
    ['path', { url: wrongPath, type: 'http' }, /404/, /no MCP server at \/mcp: older ones are at \/sse/],
    [
      'schema',
      {
        command: node,
        args: [
          '-e',
          server(
            `'tools/list': () => ({ tools: [{ name: 'a b', inputSchema: { type: 'object', properties: { x: { type: 'text' } }, required: ['y'] } }] }),`,
          ),
        ],
      },
      /tool "a b": its name is not/,
      /./,
    ],
  ];
  const settings = { startTimeoutMs, env };
  const file = configFile(
    Object.fromEntries(
      table.map(([name, entry]) => [name, 'url' in entry ? { ...entry, startTimeoutMs } : { ...entry, ...settings }]),
    ),
  );
  const { code, stdout, stderr } = await run('doctor', '--config', file, '--json');
  expect([code, stderr]).toEqual([1, '']);
  const { servers } = JSON.parse(stdout) as {
    servers: { name: string; verdict: string; problems: string[]; advice: string[] }[];
  };
  for (const [name, , problem, advice] of table) {
    const found = servers.find((each) => each.name === name);
    expect([name, found?.verdict]).not.toEqual([name, 'ok']);
    expect(found?.problems.join('\n'), name).toMatch(problem);
    expect(found?.advice.join('\n'), name).toMatch(advice);
  }
  const schema = servers.find(({ name }) => name === 'schema');
  expect(schema?.problems.join('\n')).toMatch(/required names "y", which is no property/);
  expect(schema?.problems.join('\n')).toMatch(/properties\.x\.type "text" is no type/);
  expect(bearers()).toEqual([]);
});

test('era, version, memory, tokens and names that servers share are told', async () => {
  const tools = `'tools/list': () => ({ tools: [{ name: 'read', description: 'Reads.', inputSchema: { type: 'object' } }] }),`;
  const entry = { command: process.execPath, args: ['-e', server(tools)] };
  const file = configFile({ a: entry, b: { ...entry, env: { OTHER: '1' } } });
  const { code, stdout } = await run('doctor', '--config', file);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^ {10}legacy era, \d+ MB, about \d+ tokens of tools$/m);
  expect(stdout).toMatch(/^ {2}note {4}a, b all have a tool read: clients see a__read, b__read$/m);
  expect(stdout).toMatch(/^ {2}note {4}all tools cost a model about \d+ tokens, with "expose": "search" about \d+$/m);
});

test('tokens are counted within a fifth of a tokenizer', () => {
  const tools = searchTools(['files', 'git']);
  const exact = encode(
    JSON.stringify(tools.map(({ name, description, inputSchema }) => ({ name, description, inputSchema }))),
  ).length;
  expect(tokensOf(tools) / exact).toBeGreaterThan(0.8);
  expect(tokensOf(tools) / exact).toBeLessThan(1.2);
});
