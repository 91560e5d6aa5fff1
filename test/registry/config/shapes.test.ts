// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of config files, not of ours
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseConfig } from '../../../src/registry/config/configFile.js';
import { findServers } from '../../../src/registry/config/shapes/findServers.js';

const variables = { HOME: '/home/ada', TOKEN: 't0ken', INPUT_API_KEY: 'k3y' };

const read = (file: string, text: string) => parseConfig(text, { file, variables });

/** What one server became, and what was said about it. */
function only(file: string, text: string) {
  const { servers, problems, warnings } = read(file, text);
  return { server: servers[0], problems: problems.map(({ message }) => message), warnings };
}

test('JSON with comments and trailing commas is read, and a key __proto__ is a key like any other', () => {
  const { servers, problems, warnings } = read(
    '/etc/mcp.json',
    `{
      // the only ones
      "mcpServers": { "__proto__": { "command": "x", /* none */ "args": ["y",], }, "constructor": { "command": "z" }, },
    }`,
  );
  expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
  expect(servers).toMatchObject([
    { name: '__proto__', command: 'x', args: ['y'] },
    { name: 'constructor', command: 'z' },
  ]);
});

test('the lines of a TOML text of several lines are no keys, however long they are', () => {
  const rule = '-'.repeat(100_000);
  const text = `[mcp_servers.a]
command = "x"
env.CERTIFICATE = """
${rule}
timeout = 1
${'a.'.repeat(50_000)}
${' '.repeat(100_000)}
"""
args = [
  ${JSON.stringify(rule)},
]
${rule} = 1
cwd = 5
`;
  expect(only('config.toml', text).problems).toEqual([
    'config.toml: server "a", field cwd: expected a string (line 13)',
  ]);
});

test('a mistake is told with its line, in JSON with comments and in TOML', () => {
  const json = `{
  // servers
  "mcpServers": {
    "a": {
      "command": "x",
      "args": [
        "ok",
        7
      ]
    }
  }
}`;
  expect(only('mcp.json', json).problems).toEqual(['mcp.json: server "a", field args.1: expected a string (line 8)']);
  expect(read('mcp.json', json).problems[0]).toMatchObject({ line: 8, field: 'args.1', server: 'a' });
  const toml = `model = "x"

[mcp_servers.a]
command = "x"

[mcp_servers.a.env]
KEY = [7]
`;
  expect(only('config.toml', toml).problems).toEqual([
    'config.toml: server "a", field env.KEY: expected a string (line 7)',
  ]);
  expect(only('mcp.json', '{ // no end\n "mcpServers": {').problems).toEqual([
    expect.stringMatching(/^mcp\.json: not JSON: close brace expected \(line 2, column \d+\)$/),
  ]);
  expect(only('config.toml', 'a = 1\nb = = 2\n').problems).toEqual([
    expect.stringMatching(/^config\.toml: not TOML: .*\(line 2, column \d+\)$/),
  ]);
});

test('the shape of VS Code: servers and inputs, a variable answers what the editor would ask', () => {
  const text = JSON.stringify({
    inputs: [
      { id: 'api-key', type: 'promptString', password: true },
      { id: 'region', type: 'pickString', default: 'eu' },
    ],
    servers: {
      a: {
        type: 'stdio',
        command: '${workspaceFolder}/bin/a',
        args: ['${input:region}', '${userHome}'],
        env: { KEY: '${input:api-key}', OTHER: '${env:TOKEN}' },
      },
    },
  });
  expect(only('/home/ada/work/.vscode/mcp.json', text)).toEqual({
    server: {
      name: 'a',
      transport: 'stdio',
      command: '/home/ada/work/bin/a',
      args: ['eu', '/home/ada'],
      env: { KEY: 'k3y', OTHER: 't0ken' },
    },
    problems: [],
    warnings: [],
  });
  expect(
    read('m.json', '{"servers":{"a":{"url":"http://h/","headers":{"K":"${input:other}"}}}}').problems[0]?.message,
  ).toBe(
    'm.json: server "a", field headers.K: input other is asked for by an editor, and there is none here: set the variable INPUT_OTHER (line 1)',
  );
  const settings = JSON.stringify({ 'editor.fontSize': 12, mcp: { servers: { b: { command: 'b' } } } });
  expect(only('settings.json', settings)).toMatchObject({ server: { name: 'b' }, problems: [], warnings: [] });
});

test('the shape of Zed, with a command as a text and as an object; what an extension starts is named with the fix', () => {
  const text = `{ "theme": "x", "context_servers": {
    "new": { "source": "custom", "command": "a", "args": ["1"] },
    "old": { "command": { "path": "b", "args": ["2"], "env": { "K": "\${TOKEN}" } } },
    "ext": { "source": "extension", "settings": {} }
  } }`;
  const { servers, problems, warnings } = read('settings.json', text);
  expect(servers).toEqual([
    { name: 'new', transport: 'stdio', command: 'a', args: ['1'] },
    { name: 'old', transport: 'stdio', command: 'b', args: ['2'], env: { K: 't0ken' } },
  ]);
  expect(problems.map(({ message }) => message)).toEqual([
    'settings.json: server "ext", field source: an extension of the editor starts this server: write the command that it runs, with its args (line 4)',
  ]);
  expect(warnings).toEqual(['settings.json: server "ext", field settings: not used here (line 4)']);
});

test('the shape of Codex, in TOML', () => {
  const text = `model = "gpt"

[mcp_servers.files]
command = "~/bin/files"
args = ["~", "--x"]
env_vars = ["LANG"]
startup_timeout_sec = 20
tool_timeout_sec = 5

[mcp_servers."far away"]
url = "https://example.org/mcp"
bearer_token_env_var = "TOKEN"
http_headers = { "X-A" = "1" }
env_http_headers = { "X-B" = "TOKEN" }
`;
  expect(read('config.toml', text)).toMatchObject({ problems: [], warnings: [] });
  expect(read('config.toml', text).servers).toEqual([
    {
      name: 'files',
      transport: 'stdio',
      command: '/home/ada/bin/files',
      args: ['/home/ada', '--x'],
      inheritEnv: ['LANG'],
      startTimeoutMs: 20_000,
      timeouts: { default: 5_000 },
    },
    {
      name: 'far away',
      url: 'https://example.org/mcp',
      headers: { 'X-A': '1', Authorization: 'Bearer t0ken', 'X-B': 't0ken' },
    },
  ]);
  const unset = text.replace('"TOKEN"\nhttp', '"NOPE"\nhttp');
  expect(read('config.toml', unset).problems.map(({ message }) => message)).toEqual([
    expect.stringMatching(/server "far away", field bearer_token_env_var: variable NOPE is not set .*\(line 12\)$/),
  ]);
});

test('the shapes of opencode, Gemini CLI and Windsurf', () => {
  const opencode = JSON.stringify({
    mcp: {
      a: { type: 'local', command: ['npx', '-y', 'a'], environment: { K: 'v' }, enabled: false },
      b: { type: 'remote', url: 'https://example.org/mcp' },
    },
  });
  expect(read('opencode.json', opencode)).toMatchObject({ problems: [], warnings: [] });
  expect(read('opencode.json', opencode).servers).toEqual([
    { name: 'a', transport: 'stdio', command: 'npx', args: ['-y', 'a'], env: { K: 'v' }, enabled: false },
    { name: 'b', url: 'https://example.org/mcp' },
  ]);
  const wrong = only('opencode.json', '{"mcp":{"a":{"command":["npx",7]}}}');
  expect(wrong.problems).toEqual(['opencode.json: server "a", field command.0: expected a string (line 1)']);
  const gemini = JSON.stringify({
    mcpServers: { g: { httpUrl: 'https://g/mcp', timeout: 5 }, w: { serverUrl: 'nowhere' } },
  });
  expect(only('settings.json', gemini)).toEqual({
    server: { name: 'g', transport: 'http', url: 'https://g/mcp' },
    problems: ['settings.json: server "w", field serverUrl: expected an absolute http or https URL (line 1)'],
    warnings: [
      'settings.json: server "g", field timeout: not used here, since programs differ in its unit: set timeouts.default, in ms (line 1)',
    ],
  });
});

test('references of opencode stand for variables in its own table, files are named, elsewhere both are warned of', () => {
  const entry = {
    type: 'remote',
    url: 'https://{env:HOST}/mcp',
    headers: { Authorization: 'Bearer {env:TOKEN}', 'X-A': '{"env": "{env: TOKEN }"}', 'X-B': '${env:TOKEN}' },
  };
  const parsed = parseConfig(JSON.stringify({ mcp: { a: entry } }), { variables: { ...variables, HOST: 'far' } });
  expect(parsed).toMatchObject({ problems: [], warnings: [] });
  const headers = { Authorization: 'Bearer t0ken', 'X-A': '{"env": "t0ken"}', 'X-B': 't0ken' };
  expect(parsed.servers).toEqual([{ name: 'a', url: 'https://far/mcp', headers }]);
  // For an import, which puts it into another table.
  expect(parsed.entries.get('a')).toMatchObject({ url: 'https://${env:HOST}/mcp' });
  const local = { command: ['x', '{env:NOPE}'], environment: { K: '{file:~/.key}' } };
  expect(only('opencode.json', JSON.stringify({ mcp: { a: local } })).problems).toEqual([
    expect.stringMatching(/server "a", field environment\.K: a \{file:…\} is not read here: write \$\{NAME\}/),
  ]);
  expect(only('opencode.json', '{"mcp":{"a":{"command":["x","{env:NOPE}"]}}}').problems).toEqual([
    expect.stringMatching(/server "a", field command\.0: variable NOPE is not set/),
  ]);
  const env = { A: 'k {env:TOKEN}', B: '{file:x}', C: '%TOKEN%', D: '100%', E: 'a%20b%20' };
  const { server, warnings } = only('m.json', JSON.stringify({ mcpServers: { a: { command: 'x', env } } }));
  expect(server).toMatchObject({ env });
  expect(warnings.map((each) => each.replace(/^.*?, field | \(line 1\)$/g, ''))).toEqual([
    'env.A: a {env:NAME} is passed on as it is: write ${NAME}',
    'env.B: a {file:…} is passed on as it is: write ${NAME}',
    'env.C: a %NAME% is passed on as it is: write ${NAME}',
  ]);
});

test('tables of devcontainer.json, of flat settings and within mcp are read', () => {
  const table = { a: { command: 'x' } };
  for (const root of [
    { name: 'dev', customizations: { vscode: { extensions: [], mcp: { servers: table } } } },
    { 'editor.fontSize': 12, 'mcp.servers': table },
    { mcp: { mcpServers: table, timeout: 5 } },
  ]) {
    const { servers, problems, warnings } = read('settings.json', JSON.stringify(root));
    expect({ servers, problems, warnings }).toEqual({
      servers: [{ name: 'a', transport: 'stdio', command: 'x' }],
      problems: [],
      warnings: [],
    });
  }
});

test('an empty field does not stand before another name of the same', () => {
  for (const entry of [
    { url: '', httpUrl: 'http://y/' },
    { httpUrl: 'http://y/', url: '' },
    { url: 'http://y/', type: '', transportType: 'http' },
  ]) {
    const { server, warnings } = only('m.json', JSON.stringify({ mcpServers: { a: entry } }));
    expect([server, warnings]).toEqual([{ name: 'a', transport: 'http', url: 'http://y/' }, []]);
  }
});

test('a table that is read since later is not taken in the place of one that was read before', () => {
  const old = { old: { command: 'x' } };
  const later = { later: { command: 'y' } };
  for (const root of [
    { 'mcp.servers': later, context_servers: old },
    { customizations: { vscode: { mcp: { servers: later } } }, mcp_servers: old },
    { 'mcp.servers': later, mcp: old },
    { mcp: { mcpServers: later, ...old } },
  ])
    expect(read('settings.json', JSON.stringify(root)).servers.map(({ name }) => name)).toEqual(['old']);
});

test('of a long list no more is looked at than its first values', () => {
  let reads = 0;
  const list = new Proxy(Array(20_000).fill(1), {
    get: (all, key) => {
      reads++;
      return Reflect.get(all, key);
    },
  });
  expect(findServers({ list })).toMatchObject({ field: 'mcpServers' });
  expect(reads).toBeLessThan(2_000);
  const found = findServers({ list: [1, { command: 'x' }] });
  expect(found).toMatchObject({ why: expect.stringContaining('stands at list.1;') });
});

test('a shape that is not read is named with the fix', () => {
  const table: [string, string, RegExp][] = [
    ['config.yaml', 'mcpServers:\n  - name: a\n', /^config\.yaml: YAML is not read here: write the servers as JSON/],
    ['m.json', '{"mcpServer":{"a":{"command":"x"}}}', /field mcpServers: .*is "mcpServer" meant\?$/],
    ['m.json', '{"a":{"command":"x"}}', /field mcpServers: .*write \{ "mcpServers": … \} around what is there$/],
    ['m.json', '{"command":"x"}', /field mcpServers: .*this is one server/],
    [
      'm.json',
      '{"mcpServers":[{"name":"a"}]}',
      /field mcpServers: expected an object of servers by name, got an array/,
    ],
    ['m.json', `{"mcpServers":${'['.repeat(200_000)}`, /^m\.json: not JSON: /],
    ['m.json', Buffer.from('{"mcpServers":{}}', 'utf16le').toString(), /^m\.json: UTF-16 is read with its mark/],
    [
      'm.json',
      '{"projects":{"/w":{"mcpServers":{"a":{"command":"x"}}}}}',
      /looks like a server stands at projects\.\/w\.mcpServers\.a; write \{ "mcpServers": \{ "<name>": … \} \} around it, at the root$/,
    ],
    [
      'config.json',
      '{"experimental":{"modelContextProtocolServers":[{"transport":{"type":"stdio","command":"x"}}]}}',
      /looks like a server stands at experimental\.modelContextProtocolServers\.0\.transport; /,
    ],
    ['manifest.json', '{"server":{"type":"node","mcp_config":{"command":"x"}}}', /stands at server\.mcp_config; /],
    ['m.json', `{"a":${'['.repeat(50)}{"url":"http://h/"}${']'.repeat(50)}}`, /field mcpServers: .*it is missing$/],
  ];
  for (const [file, text, message] of table) {
    const { problems } = read(file, text);
    expect(problems.map((each) => each.message)).toEqual([expect.stringMatching(message)]);
  }
});

test('duplicates, two tables, two names for one program, a shell line and a bare $NAME are warned about', () => {
  const twice = read('m.json', '{"mcpServers":{"a":{"command":"x"},\n"a":{"command":"y"}}}');
  expect(twice.servers).toMatchObject([{ command: 'y' }]);
  expect(twice.warnings).toEqual(['m.json: field mcpServers.a: stands there twice: the last one counts (line 2)']);
  const both = read('m.json', '{"servers":{"b":{"command":"b"}},"mcpServers":{"a":{"command":"a"}}}');
  expect(both.servers).toMatchObject([{ name: 'a' }]);
  expect(both.warnings).toEqual(['m.json: field servers: not used here (line 1)']);
  const same = read('m.json', '{"mcpServers":{"a":{"command":"x"},"b":{"command":"x","args":[]}}}');
  expect(same.warnings).toEqual(['m.json: server "b": the same as server "a": it is started twice']);
  const line = read('m.json', '{"mcpServers":{"a":{"command":"npx -y a"},"b":{"command":"b","env":{"K":"s$ECRET"}}}}');
  expect(line.servers).toMatchObject([{ command: 'npx -y a' }, { env: { K: 's$ECRET' } }]);
  expect(line.warnings).toEqual([
    expect.stringMatching(/field command: no shell reads a whole line: the first word is the command/),
    expect.stringMatching(/field env\.K: a \$NAME is passed on as it is: write \$\{NAME\}/),
  ]);
  expect(line.warnings.join()).not.toContain('ECRET');
});

test('~ is the home folder where a path may begin, and nowhere else', () => {
  const { server } = only(
    '/etc/m.json',
    JSON.stringify({ mcpServers: { a: { command: '~/x', cwd: '~', args: ['~/y', '--p=~/z', '~ada', '${~}/w'] } } }),
  );
  expect(server).toMatchObject({
    command: '/home/ada/x',
    cwd: '/home/ada',
    args: [join('/home/ada', 'y'), '--p=~/z', '~ada', '~/w'],
  });
});

test('null is as if it were not there, and so is what programs write where nothing was filled in', () => {
  const program = { command: 'x' };
  const remote = { url: 'http://h/mcp' };
  const empty: [object, object][] = [
    [
      { ...program, env: [], args: {}, inheritEnv: {} },
      { ...program, env: {}, args: [], inheritEnv: [] },
    ],
    [
      { ...remote, headers: [] },
      { ...remote, headers: {} },
    ],
    [{ ...program, type: null, args: null, env: null, cwd: null, url: null, headers: null, disabled: null }, program],
    [{ ...program, timeouts: null, tools: null, auth: null, sharing: null, unknown: null, httpUrl: null }, program],
    [{ ...program, url: '', cwd: '', type: '', transport: '' }, program],
    [{ ...remote, command: '', args: [] }, remote],
    [{ url: null, serverUrl: 'http://h/mcp' }, remote],
    [
      { ...program, env: { A: null, B: '' } },
      { ...program, env: { B: '' } },
    ],
  ];
  for (const [written, meant] of empty) {
    const { server, problems } = only('/etc/mcp.json', JSON.stringify({ mcpServers: { a: written } }));
    expect(problems).toEqual([]);
    expect(server).toEqual(only('/etc/mcp.json', JSON.stringify({ mcpServers: { a: meant } })).server);
  }
  for (const [written, field] of [
    [{ ...program, env: '' }, 'env: expected an object of strings'],
    [{ ...program, args: '' }, 'args: expected an array of strings'],
    [{ ...program, env: ['A=1'] }, 'env: expected an object of strings'],
    [{ ...program, args: { 0: 'y' } }, 'args: expected an array of strings'],
    [{ command: '', url: '' }, 'url: command is set too'],
    [{ command: null }, 'command: expected a program to run here, or a url: both are missing'],
  ] as const) {
    const { problems } = only('/etc/mcp.json', JSON.stringify({ mcpServers: { a: written } }));
    expect(problems).toEqual([expect.stringContaining(field)]);
  }
});
