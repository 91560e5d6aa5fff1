import { expect, test } from 'vitest';
import { loadConfig, notThere, startProblem } from '../../src/cli/configs.js';
import { readSessionKeys } from '../../src/cli/serving/readSessionKeys.js';
import { RpcError } from '../../src/core/errors.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { parseConfig } from '../../src/registry/config/configFile.js';
import { configFile } from '../support/cli.js';
import { closeAfter } from '../support/closeAfter.js';

const named = (...names: string[]) => ({
  ...parseConfig(JSON.stringify({ mcpServers: Object.fromEntries(names.map((name) => [name, { command: 'x' }])) })),
  file: 'mcp.json',
  text: undefined,
});

test('a server that is not in the config is told with a few names: those like it, else the first', () => {
  const many = Array.from({ length: 2_000 }, (_, i) => `s${i}`);
  expect(notThere(named('files', 'flies', 'far'), 'fles').message).toBe(
    'no server named "fles"; did you mean "files", "flies"?',
  );
  expect(notThere(named(...many), 'other').message).toBe(
    'no server named "other"; did you mean "s0", "s1", "s2", "s3", "s4"?',
  );
});

test('what a server said of its start is told by its beginning, however long it is', () => {
  const config = { name: 's', transport: 'stdio', command: 'x' } as const;
  const { message } = startProblem('mcp.json', config, new RpcError('s', 1, 'it says so. '.repeat(200_000)));
  expect(message).toContain('it says so.');
  expect(message.length).toBeLessThan(2_200);
});

test('what every object has is no variable of the environment', async () => {
  for (const name of ['__proto__', 'constructor', 'toString'])
    await expect(readSessionKeys([`env:${name}`])).rejects.toThrow('expected a variable that is set');
});

test('a server that a pool would refuse is told with its field, and hides no other', async () => {
  const clientCapabilities = { sampling: {} };
  const file = configFile({
    good: { command: 'x' },
    asked: { url: 'https://h/mcp', type: 'http', clientCapabilities },
    shared: { command: 'x', clientCapabilities },
    mixed: { targets: [{ url: 'https://h/mcp', type: 'http' }, { command: 'x' }], clientCapabilities },
    spares: { command: 'x', warmSpares: 17 },
    never: { command: 'x', idleTimeoutMs: 0 },
    small: { command: 'x', maxMessageBytes: 1_000 },
  });
  const { servers, problems, broken } = await loadConfig(file);
  const pool = closeAfter(new UnifiedPool());
  for (const each of servers) pool.addServer(each);
  expect(pool.servers()).toEqual(['good', 'asked']);
  const places = Object.fromEntries(problems.map(({ server, field }) => [server, field]));
  expect(places).toEqual({
    shared: 'clientCapabilities',
    mixed: 'clientCapabilities',
    spares: 'warmSpares',
    never: 'idleTimeoutMs',
    small: 'maxMessageBytes',
  });
  expect([...broken].sort()).toEqual(Object.keys(places).sort());
  expect(problems.map(({ message }) => message)).toContain(
    `${file}: server "spares", field warmSpares: expected a whole number from 0 to 16, got 17`,
  );
});
