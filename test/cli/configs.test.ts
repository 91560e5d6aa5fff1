import { expect, test } from 'vitest';
import { notThere } from '../../src/cli/configs.js';
import { readSessionKeys } from '../../src/cli/serving/readSessionKeys.js';
import { parseConfig } from '../../src/registry/config/configFile.js';

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

test('what every object has is no variable of the environment', async () => {
  for (const name of ['__proto__', 'constructor', 'toString'])
    await expect(readSessionKeys([`env:${name}`])).rejects.toThrow('expected a variable that is set');
});
