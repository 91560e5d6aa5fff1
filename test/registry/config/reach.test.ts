import { expect, test } from 'vitest';
import { flat } from '../../../src/connection/net/httpOptions.js';
import { checkServerConfig } from '../../../src/registry/config/checkServerConfig.js';
import { parseConfig } from '../../../src/registry/config/configFile.js';

const read = (server: object) => {
  const { servers, problems, warnings } = parseConfig(JSON.stringify({ mcpServers: { a: server } }), {
    file: 'm.json',
  });
  return { server: servers[0], problems: problems.map(({ message }) => message), warnings };
};

const url = 'http://127.0.0.1/mcp';

test('the transport is known by every spelling of its names', () => {
  const spellings: Readonly<Record<'stdio' | 'http' | 'sse', readonly string[]>> = {
    stdio: ['stdio', 'STDIO', 'local'],
    http: [
      'http',
      'HTTP',
      'streamable-http',
      'streamableHttp',
      'streamable_http',
      'STREAMABLE_HTTP',
      'Streamable HTTP',
    ].concat('streamablehttp', 'http-stream', 'httpStream'),
    sse: ['sse', 'SSE', 'Sse'],
  };
  for (const [transport, names] of Object.entries(spellings)) {
    const reach = transport === 'stdio' ? { command: 'x' } : { url };
    for (const name of names) {
      for (const field of ['type', 'transport', 'transportType']) {
        const found = read({ ...reach, [field]: name });
        const server = { name: 'a', transport, ...reach };
        expect([field, name, found]).toEqual([field, name, { server, problems: [], warnings: [] }]);
      }
      const { server, problems } = read({ targets: [{ ...reach, transport: name }] });
      expect([name, server, problems]).toEqual([name, { name: 'a', targets: [{ transport, ...reach }] }, []]);
    }
  }
  for (const type of ['remote', 'url']) expect(read({ url, type }).server).toEqual({ name: 'a', url });
  const { problems } = read({ url, type: 'websocket' });
  expect(problems).toEqual([
    'm.json: server "a", field type: expected one of "stdio", "http", "streamable-http", "streamableHttp", "sse" (line 1)',
  ]);
});

test('headers that the transport sets itself are left out with one warning, the others are sent', () => {
  const own = ['Accept', 'content-type', 'CONNECTION', 'Host', 'Accept-Encoding', 'Expect', 'Keep-Alive', 'Upgrade'];
  const others = ['Content-Length', 'Transfer-Encoding', 'Last-Event-ID', 'Mcp-Session-Id', 'MCP-Protocol-Version'];
  const names = [...own, ...others];
  const headers = { ...Object.fromEntries(names.map((name) => [name, 'x'])), Authorization: 'Bearer t' };
  expect(read({ url, headers })).toEqual({
    server: { name: 'a', url, headers: { Authorization: 'Bearer t' } },
    problems: [],
    warnings: [
      `m.json: server "a", field headers: not sent, since the protocol sets them itself: ${names.join(', ')} (line 1)`,
    ],
  });
  const { server, warnings } = read({ targets: [{ url, headers }] });
  expect(server).toMatchObject({ targets: [{ url, headers: { Authorization: 'Bearer t' } }] });
  expect(warnings).toEqual([expect.stringMatching(/field targets\.0\.headers: not sent/)]);
});

test('a header that cannot be sent is a problem that says why, and shows no value', () => {
  const table: readonly [string, string, string][] = [
    ['X-A', 's3cret漢', 'a header value of Latin letters'],
    ['X-A', 's3cret\n', 'a header value on one line'],
    ['X A', 's3cret', 'a name of a header: letters, digits and "-"'],
    ['Mcp-Param-A', 's3cret', 'a header name that the protocol does not set itself'],
  ];
  for (const [name, value, expected] of table) {
    const headers = { [name]: value };
    const found = read({ url, headers });
    expect(found.problems).toEqual([`m.json: server "a", field headers.${name}: expected ${expected} (line 1)`]);
    const calls = [() => flat('headers', headers), () => checkServerConfig({ name: 'a', url, headers })];
    for (const call of calls) {
      expect(call).toThrow(new RegExp(`headers\\.${name}: got ".*", expected ${expected}$`));
      expect(call).not.toThrow(/s3cret/);
    }
  }
  expect(read({ url, headers: { 'X-A': 'é', 'X-B': '' } }).problems).toEqual([]);
});

test('a command that is a whole line is warned of, one that is a path with blanks is not', () => {
  const lines = ['npx -y a', '/usr/bin/node /x/a.mjs --flag', 'FOO=bar node x.js', '"/opt/My App/a" --stdio', "'a' b"];
  for (const command of [...lines, 'cd /x && node s.js', '~/bin/a --stdio', 'C:\\a.exe D:\\b']) {
    expect([command, read({ command }).warnings]).toEqual([
      command,
      [expect.stringMatching(/field command: no shell reads a whole line: the first word is the command/)],
    ]);
  }
  for (const command of ['/opt/My App/server', 'C:\\Program Files\\a.exe', '/usr/bin/node', 'node']) {
    expect([command, read({ command }).warnings]).toEqual([command, []]);
  }
  expect(read({ command: 'my app', args: ['-x'] }).warnings).toEqual([]);
});
