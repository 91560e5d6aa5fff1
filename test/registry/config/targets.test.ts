import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { OptionError } from '../../../src/core/errors.js';
import {
  checkServerConfig,
  fingerprint,
  parseConfig,
  type ServerConfig,
  ServerRegistry,
} from '../../../src/registry/index.js';

const parse = (entry: object) => {
  const text = JSON.stringify({ mcpServers: { app: entry } }, undefined, 2);
  return parseConfig(text, { file: '/etc/mcp.json', variables: { TOKEN: 's3cret', ZONE: 'eu' } });
};
const A = { url: 'http://127.0.0.1:1/mcp' };
const B = { url: 'http://127.0.0.1:2/mcp' };

test('targets of a file are read like servers: variables, folders, types', () => {
  const { servers, problems, warnings } = parse({
    targets: [
      {
        type: 'streamable-http',
        url: 'http://a/mcp',
        headers: { authorization: `Bearer \${TOKEN}` },
        weight: 2,
        zone: 'eu',
      },
      { command: 'node', args: ['x.js'], cwd: 'here', color: 'red' },
      { url: 'http://b/mcp', weight: 0 },
    ],
    balance: 'failover',
    zone: 'eu',
    hedge: { after: 'p95' },
    outliers: { failureRatio: 'Infinity' },
    mirror: { to: { url: 'http://c/mcp' }, ratio: 0.5 },
    maxQueue: 3,
  });
  expect(problems).toEqual([]);
  expect(warnings).toEqual(['/etc/mcp.json: server "app", field targets.1.color: not used here (line 20)']);
  expect(servers).toEqual([
    {
      name: 'app',
      maxQueue: 3,
      targets: [
        { transport: 'http', url: 'http://a/mcp', headers: { authorization: 'Bearer s3cret' }, weight: 2, zone: 'eu' },
        { transport: 'stdio', command: 'node', args: ['x.js'], cwd: '/etc/here' },
        { url: 'http://b/mcp', weight: 0 },
      ],
      balance: 'failover',
      zone: 'eu',
      hedge: { after: 'p95' },
      outliers: { failureRatio: Number.POSITIVE_INFINITY },
      mirror: { to: { url: 'http://c/mcp' }, ratio: 0.5 },
    },
  ]);
  expect(checkServerConfig(servers[0] as ServerConfig)).toBe(servers[0]);
});

test('a transport of the server is that of its targets that name none', () => {
  expect(parse({ type: 'sse', targets: [A, { ...B, type: 'http' }] }).servers).toMatchObject([
    { transport: 'sse', targets: [{ transport: 'sse' }, { transport: 'http' }] },
  ]);
});

test.each<[string, object, string, number]>([
  ['no target', { targets: [] }, 'targets: expected 1 to 64 targets', 4],
  ['no list', { targets: A }, 'targets: expected an array of targets', 4],
  ['a target that is none', { targets: [A, 7] }, 'targets.1: expected an object with command or url', 8],
  ['an empty target', { targets: [A, {}] }, 'targets.1: expected a command or a url: both are missing', 8],
  [
    'a target that is two',
    { targets: [{ ...A, command: 'node' }] },
    'targets.0.url: expected a command or a url, not both',
    6,
  ],
  ['a bad url', { targets: [{ url: 'ftp://x' }] }, 'targets.0.url: expected an absolute http or https URL', 6],
  [
    'an empty command',
    { targets: [{ command: ' ' }] },
    'targets.0.command: expected a program to run, got an empty string',
    6,
  ],
  [
    'a variable that is not set',
    { targets: [{ url: `http://\${NO}/` }] },
    `targets.0.url: variable NO is not set (set it, or give it a default: \${NO:-…})`,
    6,
  ],
  ['a weight below 0', { targets: [{ ...A, weight: -1 }] }, 'targets.0.weight: expected a number from 0 to 1000000', 7],
  [
    'a weight that is a text',
    { targets: [{ ...A, weight: '2' }] },
    'targets.0.weight: expected a number from 0 to 1000000',
    7,
  ],
  ['no weight at all', { targets: [{ ...A, weight: 0 }] }, 'targets: expected a weight above 0 for one of them', 4],
  [
    'an empty zone',
    { targets: [{ ...A, zone: '' }] },
    'targets.0.zone: expected a name of a zone, got an empty one',
    7,
  ],
  ['a zone that no target is in', { targets: [A], zone: 'eu' }, 'zone: expected the zone of one of the targets', 9],
  [
    'a transport of another kind',
    { targets: [{ ...A, type: 'stdio' }] },
    "targets.0.transport: expected transport 'http' or 'sse' for a url",
    5,
  ],
  [
    'a transport that there is none',
    { targets: [{ ...A, transport: 'ws' }] },
    'targets.0.transport: expected one of "stdio", "http", "streamable-http", "streamableHttp", "sse"',
    7,
  ],
  [
    'a program with a transport of urls',
    { type: 'http', targets: [{ command: 'node' }] },
    "targets.0.command: expected transport 'stdio' for a command",
    7,
  ],
  [
    'a policy that there is none',
    { targets: [A], balance: 'random' },
    'balance: expected one of "least-loaded", "p2c-ewma", "round-robin", "failover", "hash"',
    9,
  ],
  [
    'a hedge without a time',
    { targets: [A], hedge: {} },
    'hedge.after: expected milliseconds, or a quantile from "p50" to "p99.9"',
    9,
  ],
  [
    'a hedge after p10',
    { targets: [A], hedge: { after: 'p10' } },
    'hedge.after: expected milliseconds, or a quantile from "p50" to "p99.9"',
    10,
  ],
  [
    'a hedge of sessions',
    { targets: [A], hedge: { after: 5 }, sharing: 'bound' },
    'hedge: expected none with sharing "bound", whose sessions are on one target: leave it out, or set sharing to "shared"',
    9,
  ],
  [
    'outliers that there are none',
    { targets: [A], outliers: { maxEjected: 1 } },
    'outliers: expected only consecutiveFailures, failureRatio, latencyFactor, minCalls, intervalMs, ejectionMs, maxEjectionMs, maxEjectedRatio, slowStartMs, got maxEjected too',
    9,
  ],
  [
    'an ejection longer than the longest',
    { targets: [A], outliers: { ejectionMs: 100, maxEjectionMs: 10 } },
    'outliers.maxEjectionMs: expected milliseconds, 100 (ejectionMs) or more',
    11,
  ],
  [
    'a mirror without a place',
    { targets: [A], mirror: { to: {} } },
    'mirror.to: expected a command or a url: both are missing',
    10,
  ],
  ['a share above 1', { targets: [A], canary: { to: B, ratio: 2 } }, 'canary.ratio: expected a number from 0 to 1', 13],
  ['a url beside targets', { ...A, targets: [A] }, 'url: expected none: the server has targets', 4],
])('%s is refused with its place', (_, entry, why, line) => {
  const { servers, problems } = parse(entry);
  expect(servers).toEqual([]);
  expect(problems.map(({ message }) => message)).toEqual([`/etc/mcp.json: server "app", field ${why} (line ${line})`]);
});

test.each<[string, object, string]>([
  ['targets that are none', { targets: 5 }, 'servers["app"].targets'],
  ['a url beside targets', { targets: [A], url: A.url }, 'servers["app"].url'],
  ['a policy that there is none', { targets: [A], balance: 'x' }, 'servers["app"].balance'],
  ['a weight that is no number', { targets: [{ ...A, weight: Number.NaN }] }, 'servers["app"].targets.0.weight'],
  ['a field that there is none', { targets: [{ ...A, wieght: 1 }] }, 'servers["app"].targets.0.wieght'],
  ['a bad url of a mirror', { targets: [A], mirror: { to: { url: 'x' } } }, 'servers["app"].mirror.to.url'],
  ['settings without targets', { ...A, balance: 'hash' }, 'servers["app"].balance'],
])('a program that gives %s gets an OptionError', (_, config, option) => {
  let thrown: unknown;
  try {
    checkServerConfig({ name: 'app', ...config } as ServerConfig);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(OptionError);
  expect((thrown as OptionError).option).toBe(option);
});

test('settings of targets without targets are told of', () => {
  const { servers, warnings } = parse({ ...A, balance: 'hash' });
  expect(servers).toEqual([{ name: 'app', ...A }]);
  expect(warnings).toEqual(['/etc/mcp.json: server "app", field balance: not used without targets (line 5)']);
});

test('fingerprints differ with targets, and a registry writes what it was given', async () => {
  const one: ServerConfig = { name: 'app', targets: [A, { command: 'node', args: [`\${x}`], env: { A: '~' } }] };
  const prints = [one, { ...one, targets: [A] }, { ...one, balance: 'hash' as const }].map(fingerprint);
  expect(new Set(prints).size).toBe(3);
  expect(fingerprint({ ...one, balance: 'p2c-ewma' })).toBe(prints[0]);
  const registry = new ServerRegistry();
  registry.add(one);
  const file = join(await mkdtemp(join(tmpdir(), 'targets-')), 'mcp.json');
  await registry.save(file);
  const read = parseConfig(await readFile(file, 'utf8'), { file, variables: {} });
  expect(read.problems).toEqual([]);
  expect(read.servers).toEqual([
    { name: 'app', targets: [A, { transport: 'stdio', command: 'node', args: [`\${x}`], env: { A: '~' } }] },
  ]);
  await registry.close();
});
