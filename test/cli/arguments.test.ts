import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { configFile, run } from '../support/cli.js';
import { closeAfter } from '../support/closeAfter.js';
import { commandHost } from '../support/commandHost.js';
import { fixture } from '../support/servers.js';
import { tempFolder } from '../support/tempFolder.js';

vi.setConfig({ testTimeout: 60_000 });

const LONG = 'x'.repeat(100_000);
const SECRET = 's3cret';
const echo = () => configFile({ s: { command: process.execPath, args: [fixture('echo-server.mjs')] } });

const say = commandHost();

test.each<[string, readonly string[], RegExp]>([
  [
    'a port with a line break',
    ['serve', '--port', '1\n2'],
    /^error: option '-p, --port <number>' argument '1\n {2}2' is invalid/,
  ],
  ['a level that steers terminals', ['serve', '--log-level', 'a\u001b[31mb'], /argument 'a\\u001b\[31mb' is invalid/],
  [
    'a number of any length',
    ['serve', '--grace-ms', LONG],
    /^error: option '--grace-ms <ms>' argument 'x+ … x+' is invalid/,
  ],
  [
    'a file without a name',
    ['call', 's', 'echo', '--config', ''],
    /--config <file>' argument '' is invalid. Expected the name of a file\./,
  ],
  [
    'a folder without a name',
    ['doctor', '--tokens', ' '],
    /--tokens <folder>' argument ' ' is invalid. Expected the name of a folder\./,
  ],
  ['a host that is none', ['serve', '--host', 'a b'], /Expected an address or the name of a host\./],
  ['a wildcard as a host', ['serve', '--allow-host', '*.example.com'], /no scheme, no path, no wildcards\./],
  ['the URL of a page', ['serve', '--allow-origin', 'https://app.example'], /no scheme, no path, no wildcards\./],
  ['a page with a port', ['serve', '--allow-origin', 'app.example:80'], /One of a page has no port/],
  ['a config of any length', ['call', 's', 'echo', '--config', LONG], /^mcp-poolkit: x+ … x+: cannot be read: /],
  [
    'a URL of another kind',
    ['status', '--url', 'file:///etc/passwd'],
    /'file:\/\/\/etc\/passwd' is invalid\. Expected an http or https URL\./,
  ],
  [
    'a header with a line break',
    ['status', '-H', `authorization: ${SECRET}\nx: y`],
    /option --header: got "authorization: …", expected a header/,
  ],
  [
    'a header that is none',
    ['bench', 'http://127.0.0.1:1', '--header', SECRET],
    /option --header: got "a text without a name/,
  ],
  [
    'a header beyond Latin letters',
    ['connect', 'http://127.0.0.1:1', '-H', `a: ${SECRET}€`],
    /got "a: …", expected a header/,
  ],
  [
    'a time that is no number',
    ['replay', '/dev/null', '--timeout', 'NaN'],
    /argument 'NaN' is invalid\. Expected a whole number from 1 to 86400000\./,
  ],
])('%s is told in one line, bounded and without secrets', async (_, args, says) => {
  // `call` ends its process by itself.
  const { code, stdout, stderr } = await (args[0] === 'call' ? run(...args) : say(args));
  expect([code, stdout]).toEqual([1, '']);
  expect(stderr).toMatch(says);
  expect(stderr.length).toBeLessThan(4_500);
  expect(stderr).not.toContain(SECRET);
  expect(stderr).not.toContain('\u001b');
  for (const line of stderr.trimEnd().split('\n').slice(1)) expect(line).toMatch(/^( {2}|\(--help)/);
});

test('a pipe that has no other end is not waited for without end', async () => {
  const folder = tempFolder();
  const plan = join(folder, 'plan.json');
  const pipes = ['out', 'events', 'in'].map((name) => join(folder, name)) as [string, string, string];
  execFileSync('mkfifo', pipes);
  const [out, events, recording] = pipes;
  writeFileSync(plan, '{}');
  const outcomes = await Promise.all([
    run('record', '--out', out, '--', process.execPath),
    run('fault', '--plan', plan, '--events', events, '--', process.execPath),
    run('replay', recording),
  ]);
  expect(outcomes.map(({ code, stderr }) => [code, stderr])).toEqual([
    [1, expect.stringMatching(/option --out: .*a pipe that nothing reads/)],
    [1, expect.stringMatching(/option --events: .*a pipe that nothing reads/)],
    [1, expect.stringMatching(/nothing was written to it within 5000 ms/)],
  ]);
});

test.each([
  ['payloads', '{"text":"{{payload:67108864}}{{payload:1}}"}', /payload:1\}\}", expected payloads of 64 MiB together/],
  ['ranges', '{"text":"{{random:9:1}}"}', /random:9:1\}\}", expected two whole numbers, the smaller one first/],
  ['nesting', `{"text":${'['.repeat(50_000)}${']'.repeat(50_000)}}`, /option --args: .*nested too deep/],
])('`bench --args` whose %s have no bounds is refused', async (_, args, says) => {
  const { code, stderr } = await say([
    'bench',
    'reference',
    '-d',
    '50ms',
    '--warmup',
    '0ms',
    '--quiet',
    '--args',
    args,
  ]);
  expect(stderr).toMatch(says);
  expect(code).toBe(1);
});

test('a name and a password in the URL of `status` are sent, and never told', async () => {
  let heard: string | undefined;
  const server = createServer((request, response) => {
    heard = request.headers.authorization;
    response.writeHead(401).end();
  }).listen(0, '127.0.0.1');
  closeAfter({ close: async () => void server.close() });
  await expect.poll(() => server.listening).toBe(true);
  const { port } = server.address() as AddressInfo;
  const { code, stderr } = await run('status', '--url', `http://ada:${SECRET}%21%@127.0.0.1:${port}/mcp?x`);
  expect(code).toBe(1);
  expect(heard).toBe(`Basic ${Buffer.from(`ada:${SECRET}!%`).toString('base64')}`);
  expect(stderr).toMatch(/^mcp-poolkit: http:\/\/127\.0\.0\.1:\d+\/status\/data\.json wants to know who asks/);
});

test('`call` with arguments that are nested too deep is told in one line', async () => {
  const { code, stderr } = await run(
    'call',
    's',
    'echo0',
    `{"text":${'['.repeat(50_000)}${']'.repeat(50_000)}}`,
    '-c',
    echo(),
  );
  expect(code).toBe(1);
  expect(stderr).toMatch(/^mcp-poolkit: [^\n]*nested too deep[^\n]*\n$/);
});
