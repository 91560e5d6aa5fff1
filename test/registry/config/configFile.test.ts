import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { OptionError } from '../../../src/core/errors.js';
import { checkServerConfig } from '../../../src/registry/config/checkServerConfig.js';
import { parseConfig, readConfigFile } from '../../../src/registry/config/configFile.js';

const parse = (mcpServers: unknown, variables: Record<string, string> = {}) =>
  parseConfig(JSON.stringify({ mcpServers }), { file: '/etc/mcp.json', variables });

const problemsOf = (mcpServers: unknown, variables?: Record<string, string>) =>
  parse(mcpServers, variables).problems.map(({ message }) => message);

test('the shape that MCP programs share becomes server configs', () => {
  const { servers, problems, warnings } = parse(
    {
      files: { command: 'node', args: ['a.js', `\${DIR}`], env: { KEY: `\${KEY:-none}` }, cwd: '../x' },
      remote: { url: `https://\${HOST}/mcp`, headers: { Authorization: `Bearer \${TOKEN}` } },
      old: { type: 'sse', url: 'http://localhost/sse', disabled: true },
      typed: { type: 'streamable-http', url: 'http://localhost/mcp', maxConcurrent: 3, idleTimeoutMs: 'Infinity' },
    },
    { DIR: '/data', HOST: 'example.org', TOKEN: 's3cret' },
  );
  expect(problems).toEqual([]);
  expect(warnings).toEqual([]);
  expect(servers).toEqual([
    { name: 'files', transport: 'stdio', command: 'node', args: ['a.js', '/data'], env: { KEY: 'none' }, cwd: '/x' },
    {
      name: 'remote',
      url: 'https://example.org/mcp',
      headers: { Authorization: 'Bearer s3cret' },
    },
    { name: 'old', transport: 'sse', url: 'http://localhost/sse', enabled: false },
    {
      name: 'typed',
      transport: 'http',
      url: 'http://localhost/mcp',
      maxConcurrent: 3,
      idleTimeoutMs: Number.POSITIVE_INFINITY,
    },
  ]);
});

test('a field that is nearly one of ours is named, in an entry, in a target and in timeouts', () => {
  const mcpServers = {
    a: { comand: 'x', url: 'http://127.0.0.1/mcp', maxConcurent: 2 },
    b: { targets: [{ url: 'http://127.0.0.1/mcp', wieght: 1 }] },
    c: { command: 'x', timeouts: { look: 3_000, byTools: {} } },
  };
  const { warnings } = parseConfig(JSON.stringify({ mcpServers }), { file: 'mcp.json' });
  expect(warnings.map((each) => each.replace(/^.*?, field | \(line 1\)$/g, ''))).toEqual([
    'comand: not used here: did you mean "command"?',
    'maxConcurent: not used here: did you mean "maxConcurrent"?',
    'targets.0.wieght: not used here: did you mean "weight"?',
    'timeouts.look: not used here',
    'timeouts.byTools: not used here: did you mean "byTool"?',
  ]);
});

test('unknown fields are warnings that say where', () => {
  const { servers, warnings } = parseConfig(
    JSON.stringify({ mcpServers: { a: { command: 'x', autoApprove: ['y'] } }, inputs: [] }),
    { file: 'mcp.json' },
  );
  expect(servers).toHaveLength(1);
  expect(warnings).toEqual([
    'mcp.json: field inputs: not used here (line 1)',
    'mcp.json: server "a", field autoApprove: not used here (line 1)',
  ]);
});

test('each kind of mistake is one line that names file, server and field', () => {
  const table: [unknown, string][] = [
    [{ command: '' }, 'field command: expected a program to run, got an empty string'],
    [{ command: `\${NOPE}` }, `field command: variable NOPE is not set (set it, or give it a default: \${NOPE:-…})`],
    [{ command: 'x', env: { T: `\${NOPE}` } }, 'field env.T: variable NOPE is not set'],
    [{ command: 'x', args: ['a', 1] }, 'field args.1: expected a string'],
    [{ command: 'x', args: 'a b' }, 'field args: expected an array of strings'],
    [{ command: 7 }, 'field command: expected a string'],
    [{}, 'field command: expected a program to run here, or a url: both are missing'],
    [{ command: 'x', url: 'http://h/' }, 'field url: command is set too'],
    [{ url: 'localhost:80' }, 'field url: expected an absolute http or https URL'],
    [{ url: 'file:///etc/passwd' }, 'field url: expected an absolute http or https URL'],
    [{ type: 'ws', url: 'ws://h' }, 'field type: expected one of "stdio", "http"'],
    [{ type: 'sse', command: 'x' }, 'field type: "sse" needs a url'],
    [{ command: 'x', maxConcurrent: 0 }, 'field maxConcurrent: expected a whole number, 1 or more'],
    [{ command: 'x', disabled: 'yes' }, 'field disabled: expected true or false'],
    [[], 'server "bad": expected an object with command or url'],
    ['x', 'server "bad": expected an object with command or url'],
  ];
  for (const [entry, message] of table) {
    const [line = '', ...more] = problemsOf({ bad: entry });
    expect(line).toContain('/etc/mcp.json: server "bad"');
    expect(line).toContain(message);
    expect(line).not.toContain('\n');
    expect(more).toEqual([]);
  }
});

test('one bad server never hides the others, and every mistake of one is told', () => {
  const { servers, problems } = parse({
    one: { command: 'x' },
    two: { command: '', env: { A: `\${NOPE}`, B: `\${NOPE2}` } },
    three: { url: 'http://h/mcp' },
  });
  expect(servers.map(({ name }) => name)).toEqual(['one', 'three']);
  expect(problems.map(({ field }) => field)).toEqual(['command', 'env.A', 'env.B']);
  for (const problem of problems) {
    expect(problem).toBeInstanceOf(OptionError);
    expect(problem).toMatchObject({ code: 'ERR_OPTION', file: '/etc/mcp.json', server: 'two' });
  }
});

test('numbers and flags in `env` are their texts, as VS Code has them; nothing else is', () => {
  const started = { command: 'x', env: { PORT: 3000, DEBUG: true, NAME: 'n' } };
  const { servers, problems } = parse({
    one: started,
    two: { targets: [started, started] },
    three: { command: 'x', args: [8080], env: { A: {} } },
  });
  const texts = { env: { PORT: '3000', DEBUG: 'true', NAME: 'n' } };
  expect(servers).toMatchObject([
    { name: 'one', ...texts },
    { name: 'two', targets: [texts, texts] },
  ]);
  expect(problems.map(({ field }) => field)).toEqual(['args.0', 'env.A']);
});

test('half a surrogate pair in a name is told as a mistake of that server', () => {
  const { servers, problems } = parseConfig('{"mcpServers": {"good": {"command": "x"}, "\\ud800": {"command": "x"}}}', {
    file: 'mcp.json',
  });
  expect(servers.map(({ name }) => name)).toEqual(['good']);
  expect(problems.map(({ message }) => message)).toEqual([
    String.raw`mcp.json: server "\ud800": expected a name of whole characters, got half a surrogate pair (line 1)`,
  ]);
});

test('what is not JSON or not the shape is one line, with the place and without a piece of the file', () => {
  const lines = (text: string) => parseConfig(text, { file: 'mcp.json' }).problems.map(({ message }) => message);
  expect(lines('{"mcpServers": {"a": {"env": {"K": "s3cret"} "x": 1}}}')).toEqual([
    expect.stringMatching(/^mcp\.json: not JSON: Expected ',' or '}' after property value.*\(line 1, column 46\)$/),
  ]);
  for (const text of ['', 'mcpServers: s3cret', '{"a": s3cret\n}', "{'a': 's3cret'}"]) {
    const [line = '', ...more] = lines(text);
    expect(line).toMatch(/^mcp\.json: not JSON: /);
    expect(line).not.toMatch(/s3cret|\n/);
    expect(more).toEqual([]);
  }
  expect(lines('[]')).toEqual(['mcp.json: expected an object with mcpServers, got an array of 0']);
  expect(lines('{}')).toEqual(['mcp.json: field mcpServers: expected an object of servers by name, it is missing']);
  expect(lines('\uFEFF{"mcpServers": {}}')).toEqual([]);
});

test('a file is read, and one that is missing is a problem', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'poolkit-config-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'mcp.json');
  expect((await readConfigFile(file)).problems.map(({ message }) => message)).toEqual([
    `${file}: cannot be read: no such file`,
  ]);
  writeFileSync(file, JSON.stringify({ mcpServers: { a: { command: 'x', cwd: 'sub' } } }));
  expect((await readConfigFile(file)).servers).toEqual([
    { name: 'a', transport: 'stdio', command: 'x', cwd: join(folder, 'sub') },
  ]);
});

test('no JSON at all makes the parser throw, and every problem is one line', () => {
  const entry = fc.record(
    {
      command: fc.anything(),
      args: fc.anything(),
      env: fc.dictionary(fc.string(), fc.anything()),
      url: fc.anything(),
      type: fc.anything(),
      timeouts: fc.anything(),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.oneof(fc.dictionary(fc.string(), fc.oneof(entry, fc.anything())), fc.anything()), (mcpServers) => {
      let text: string | undefined;
      try {
        text = JSON.stringify({ mcpServers });
      } catch {
        return; // a bigint or a circle: no JSON
      }
      const { problems, servers } = parseConfig(text, { variables: {} });
      for (const { message } of problems) expect(message).not.toContain('\n');
      expect(new Set([...servers.map(({ name }) => name), ...problems.map(({ server }) => server)]).size).toBe(
        typeof mcpServers === 'object' && mcpServers !== null && !Array.isArray(mcpServers)
          ? Object.keys((JSON.parse(text) as { mcpServers: object }).mcpServers).length
          : 1,
      );
    }),
  );
});

test('of a file in which everything is wrong the first places are named, the others counted', () => {
  const many = (count: number, of: (i: number) => [string, unknown]): object =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => of(i)));
  const broken = parse({ ...many(1_500, (i) => [`s${i}`, { comand: 'x' }]), good: { command: 'x' } });
  expect(broken.servers.map(({ name }) => name)).toEqual(['good']);
  expect([broken.problems.length, broken.broken.size]).toEqual([1_000, 1_500]);
  expect(broken.warnings.slice(-2)).toEqual(['/etc/mcp.json: 500 more warnings', '/etc/mcp.json: 500 more problems']);
  expect(broken.warnings).toHaveLength(1_002);

  const one = parse({ a: { command: 'x', args: Array(5_000).fill(1) }, b: { command: 5 } });
  expect(one.problems).toHaveLength(22);
  expect(one.problems.slice(-2).map(({ message }) => message)).toEqual([
    '/etc/mcp.json: server "a": 4980 more places are wrong (line 1)',
    '/etc/mcp.json: server "b", field command: expected a string (line 1)',
  ]);

  const text = `{"mcpServers":{${'"s":{"command":"x"},'.repeat(3_000)}"s":{"command":"y"}}}`;
  const twice = parseConfig(text, { file: '/etc/mcp.json' });
  expect(twice.servers).toMatchObject([{ name: 's', command: 'y' }]);
  expect(twice.warnings).toHaveLength(101);
  expect(twice.warnings.at(-1)).toBe('/etc/mcp.json: 2900 more fields stand there twice');

  const [unset] = parse({ a: { command: `\${A}`.repeat(1_000) } }).problems;
  expect(unset?.message).toMatch(/; and 990 more \(line 1\)$/);
});

test('lines are right wherever a value stands, in JSON and in TOML', () => {
  const json = [
    '{',
    '"mcpServers": {',
    '"a": { "command": "x", "args": [',
    '"y",',
    '5',
    ']},',
    '"b": {',
    '',
    '"command": 5}}}',
  ];
  expect(parseConfig(json.join('\n')).problems.map(({ field, line }) => [field, line])).toEqual([
    ['args.1', 5],
    ['command', 9],
  ]);
  const toml = ['# x', '[mcp_servers.a]', 'command = "x"', 'args = [1]', '', '[mcp_servers.b]', 'cmd = 5'];
  const { problems } = parseConfig(toml.join('\n'), { file: 'config.toml' });
  expect(problems.map(({ field, line }) => [field, line])).toEqual([
    ['args.0', 4],
    ['cmd', 7],
  ]);
});

test('what the references of a file become is bounded over all its servers, and those without references stay', () => {
  const variables = { BIG: 'x'.repeat(1_000_000), HOME: `/${'h'.repeat(1_000_000)}` };
  const referring = (reference: string) => ({ command: 'c', args: Array.from({ length: 5 }, () => `a${reference}`) });
  const mcpServers = {
    a: referring(`\${BIG}`),
    plain: { command: 'c' },
    b: referring(`\${input:big}`),
    c: referring(`\${NONE:-y}`),
  };
  for (const references of [mcpServers, { ...mcpServers, b: { command: 'c', args: Array(5).fill('~/x') } }]) {
    const text = JSON.stringify({ servers: references, inputs: [{ id: 'big', default: variables.BIG }] });
    const { servers, problems } = parseConfig(text, { file: 'mcp.json', variables });
    expect(servers.map(({ name }) => name)).toEqual(['a', 'plain']);
    expect(problems[0]?.message).toMatch(
      /^mcp\.json: server "b", field args\.3: its references, .*8 Mi characters \(line 1\)$/,
    );
    expect(problems.filter(({ server }) => server === 'c')).toHaveLength(5);
  }
  const once = parseConfig(JSON.stringify({ mcpServers: { a: { command: `\${BIG}`.repeat(9) } } }), { variables });
  expect(once.problems).toHaveLength(1);
});

test.each([
  ['mcp.json', `{"mcpServers":${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}}`],
  ['mcp.jsonc', `{"mcpServers":{"a":{"command":"x", "y":${'['.repeat(2_000)}${']'.repeat(2_000)},/**/}}}`],
  ['mcp.toml', `[mcp_servers.a]\ncommand = "x"\n${'a.'.repeat(30_000)}b = 1`],
])('a file that is nested too deep is told as that (%s)', (file, text) => {
  const kind = file.endsWith('toml') ? 'TOML' : 'JSON';
  const { servers, problems } = parseConfig(text, { file });
  expect([servers, problems.map(({ message }) => message)]).toEqual([
    [],
    [`${file}: not ${kind}: it is nested too deep to be read`],
  ]);
});

test('a NUL, which no program takes, is a problem of its server, and the text is not shown', () => {
  const nul = 'hunter2\0';
  const { servers, problems } = parse({
    args: { command: 'node', args: ['a', nul] },
    env: { command: 'node', env: { TOKEN: nul } },
    good: { command: 'node' },
  });
  expect(servers.map(({ name }) => name)).toEqual(['good']);
  expect(problems.map(({ message }) => message.replace(/^.*server/, 'server'))).toEqual([
    'server "args", field args.1: expected a string without NUL (line 1)',
    'server "env", field env.TOKEN: expected a string without NUL (line 1)',
  ]);
  for (const given of [{ args: [nul] }, { env: { TOKEN: nul } }, { cwd: nul }, { command: nul }]) {
    const config = { name: 'a', transport: 'stdio', command: 'node', ...given } as const;
    expect(() => checkServerConfig(config)).toThrow(/^(?!.*hunter2).*expected a string without NUL$/);
  }
});
