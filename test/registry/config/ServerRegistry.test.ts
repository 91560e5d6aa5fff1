import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { ClosedError, OptionError, ServerNotFoundError } from '../../../src/core/errors.js';
import { StdioPool } from '../../../src/pool/StdioPool.js';
import type { ServerConfig } from '../../../src/registry/config/ServerConfig.js';
import { ServerRegistry } from '../../../src/registry/config/ServerRegistry.js';
import { closeAfter } from '../../support/closeAfter.js';
import { fixture } from '../../support/servers.js';

const stdio = (name: string, command = 'node'): ServerConfig => ({ name, transport: 'stdio', command });

let registry: ServerRegistry;
let folder: string;
let file: string;
let seen: string[];

beforeEach(() => {
  registry = new ServerRegistry();
  folder = mkdtempSync(join(tmpdir(), 'poolkit-registry-'));
  file = join(folder, 'mcp.json');
  seen = [];
  registry.on('added', ({ config }) => seen.push(`+${config.name}`));
  registry.on('removed', ({ config }) => seen.push(`-${config.name}`));
  registry.on('changed', ({ config }) => seen.push(`~${config.name}`));
  onTestFinished(async () => {
    await registry.close();
    rmSync(folder, { recursive: true });
  });
});

test('configs are held by name and every change is told once', () => {
  registry.add(stdio('a'));
  expect(registry.set(stdio('b'))).toBe(true);
  expect(registry.set(stdio('b'))).toBe(false);
  expect(registry.set(stdio('b', 'deno'))).toBe(true);
  expect(registry.remove('a')).toBe(true);
  expect(registry.remove('a')).toBe(false);
  expect(registry.list()).toEqual([stdio('b', 'deno')]);
  expect(seen).toEqual(['+a', '+b', '~b', '-a']);
  expect(() => registry.get('a')).toThrow(ServerNotFoundError);
});

test('what it holds does not change under its owner', () => {
  const args = ['x'];
  registry.add({ name: 'a', transport: 'stdio', command: 'node', args });
  args.push('y');
  expect(registry.get('a')).toMatchObject({ args: ['x'] });
});

test('a bad config is refused, naming its field, and a taken name too', () => {
  registry.add(stdio('a'));
  const bad: [unknown, string][] = [
    [stdio('a'), 'name'],
    [stdio(''), 'name'],
    [stdio('x\n'), 'name'],
    [stdio('x\ud800'), 'name'],
    [stdio('b', ' '), 'command'],
    [{ ...stdio('b'), args: [1] }, 'args.0'],
    [{ ...stdio('b'), maxConcurrent: 0 }, 'maxConcurrent'],
    [{ ...stdio('b'), sharing: 'some' }, 'sharing'],
    [{ ...stdio('b'), timeouts: { byTool: { x: -1 } } }, 'timeouts.byTool.x'],
    [{ name: 'b', transport: 'http', url: 'nowhere' }, 'url'],
    [{ name: 'b', transport: 'pigeon' }, 'transport'],
  ];
  for (const [config, field] of bad) {
    let error: unknown;
    try {
      registry.add(config as ServerConfig);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(OptionError);
    expect((error as OptionError).option).toContain(field);
  }
  expect(registry.names()).toEqual(['a']);
});

test('replace holds exactly what it is given, or changes nothing', () => {
  registry.replace([stdio('a'), stdio('b'), stdio('c')]);
  seen.length = 0;
  expect(registry.replace([stdio('c'), stdio('b', 'deno'), stdio('d')])).toEqual({
    added: ['d'],
    removed: ['a'],
    changed: ['b'],
    unchanged: ['c'],
    kept: [],
  });
  expect(seen).toEqual(['-a', '~b', '+d']);
  expect(() => registry.replace([stdio('e'), stdio('e')])).toThrow(OptionError);
  expect(() => registry.replace([stdio('e'), stdio('f', '')])).toThrow(OptionError);
  expect(registry.names()).toEqual(['b', 'c', 'd']);
});

test('what was loaded is saved with its references and unknown fields, never with the secret', async () => {
  const entry = { command: 'node', env: { TOKEN: `\${TOKEN}` }, autoApprove: ['x'], cwd: 'sub' };
  writeFileSync(file, JSON.stringify({ inputs: [1], mcpServers: { a: entry } }));
  const loaded = await registry.load(file, { variables: { TOKEN: 's3cret' } });
  expect(loaded).toMatchObject({ added: ['a'], problems: [] });
  expect(registry.get('a')).toMatchObject({ env: { TOKEN: 's3cret' }, cwd: join(folder, 'sub') });
  registry.add({ name: 'b', transport: 'stdio', command: 'node', args: [`\${plain}`] });
  await registry.save(file);
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({
    inputs: [1],
    mcpServers: { a: entry, b: { command: 'node', args: [`$\${plain}`] } },
  });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder)).toEqual(['mcp.json']);

  mkdirSync(join(folder, 'else'));
  await registry.save(join(folder, 'else', 'mcp.json'));
  const again = await registry.load(join(folder, 'else', 'mcp.json'), { variables: { TOKEN: 's3cret' } });
  expect(again.unchanged).toEqual(['a', 'b']);
});

test('a file that cannot be parsed changes nothing', async () => {
  registry.add(stdio('a'));
  writeFileSync(file, '{');
  expect(await registry.load(file)).toMatchObject({ unchanged: ['a'], kept: [], problems: [{ code: 'ERR_OPTION' }] });
  await expect(registry.save(file)).rejects.toThrow(OptionError);
});

test('a server whose entry is broken or whose variable is unset stays as it was, and is told as a problem', async () => {
  const entries = {
    broken: { command: 'node' },
    needs: { command: 'node', env: { TOKEN: `\${TOKEN}` } },
    gone: { command: 'node' },
    other: { command: 'node' },
  };
  writeFileSync(file, JSON.stringify({ mcpServers: entries }));
  await registry.load(file, { variables: { TOKEN: 's3cret' } });
  seen = [];
  const { gone: _, ...rest } = entries;
  const next = { ...rest, broken: { command: 7 }, other: { command: 'bun' }, fresh: { command: '' } };
  writeFileSync(file, JSON.stringify({ mcpServers: next }));
  const change = await registry.load(file, { variables: {} });
  expect(change).toMatchObject({
    added: [],
    removed: ['gone'],
    changed: ['other'],
    unchanged: [],
    kept: ['broken', 'needs'],
  });
  expect(change.problems.map(({ server, field }) => [server, field])).toEqual([
    ['broken', 'command'],
    ['needs', 'env.TOKEN'],
    ['fresh', 'command'],
  ]);
  expect(seen).toEqual(['-gone', '~other']);
  expect(registry.get('broken')).toMatchObject({ command: 'node' });
  expect(registry.get('needs')).toMatchObject({ env: { TOKEN: 's3cret' } });
  // Repaired, it is as ever.
  writeFileSync(file, JSON.stringify({ mcpServers: entries }));
  expect(await registry.load(file, { variables: { TOKEN: 's3cret' } })).toMatchObject({
    added: ['gone'],
    unchanged: ['broken', 'needs'],
    kept: [],
  });
});

test('with a pool behind it, a server whose entry broke keeps its process', async () => {
  const pool = new StdioPool();
  closeAfter(pool);
  const command = process.execPath;
  const echo = { command, args: [fixture('echo-server.mjs')] };
  const apply = async (mcpServers: object): Promise<void> => {
    writeFileSync(file, JSON.stringify({ mcpServers }));
    await registry.load(file, { variables: {} });
    await pool.apply(registry.list());
  };
  await apply({ a: echo });
  await pool.request('a', 'ping');
  const { pids } = pool.stats('a');
  await apply({ a: { ...echo, env: { TOKEN: `\${UNSET}` } }, b: echo });
  expect(pool.servers()).toEqual(['a', 'b']);
  await pool.request('a', 'ping');
  expect(pool.stats('a').pids).toEqual(pids);
});

test('any set of servers is the same after save and load', async () => {
  const text = fc.string({ minLength: 1, maxLength: 8 }).filter((each) => each.trim() !== '');
  const name = text.filter((each) => !/\p{Cc}/u.test(each));
  const strings = fc.dictionary(name, fc.string(), { maxKeys: 2, noNullPrototype: true });
  const latin = fc.string({ unit: fc.constantFrom('a', ' ', '$', '{', '~', 'é') });
  const headers = fc.dictionary(fc.stringMatching(/^x-[a-z0-9$.|~]{1,4}$/), latin, {
    maxKeys: 2,
    noNullPrototype: true,
  });
  const config = fc.oneof(
    fc.record(
      { name, transport: fc.constant('stdio' as const), command: text, args: fc.array(fc.string()), env: strings },
      { requiredKeys: ['name', 'transport', 'command'] },
    ),
    fc.record(
      {
        name,
        transport: fc.constantFrom('http' as const, 'sse' as const),
        url: fc.webUrl(),
        headers,
        enabled: fc.boolean(),
        startTimeoutMs: fc.constantFrom(1, 5, Number.POSITIVE_INFINITY),
      },
      { requiredKeys: ['name', 'transport', 'url'] },
    ),
  );
  const configs = fc.uniqueArray(config, { selector: (each) => each.name, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(configs, async (each) => {
      registry.replace(each as ServerConfig[]);
      await registry.save(file);
      await using other = new ServerRegistry();
      expect((await other.load(file, { variables: {} })).problems).toEqual([]);
      const byName = (list: ServerConfig[]) => list.sort((a, b) => (a.name < b.name ? -1 : 1));
      expect(byName(other.list())).toEqual(byName(registry.list()));
    }),
    { numRuns: 25 },
  );
});

test('saves under way at once leave one whole file', async () => {
  registry.replace(Array.from({ length: 50 }, (_, i) => stdio(`s${i}`)));
  await Promise.all(Array.from({ length: 10 }, () => registry.save(file)));
  expect(Object.keys((JSON.parse(readFileSync(file, 'utf8')) as { mcpServers: object }).mcpServers)).toHaveLength(50);
  expect(readdirSync(folder)).toEqual(['mcp.json']);
});

test('close waits for a save under way, then refuses', async () => {
  registry.add(stdio('a'));
  const save = registry.save(file);
  const closing = registry.close();
  expect(registry.close()).toBe(closing);
  expect(() => registry.add(stdio('b'))).toThrow(ClosedError);
  await expect(registry.load(file)).rejects.toThrow(ClosedError);
  await closing;
  await save;
  expect(registry.get('a')).toEqual(stdio('a'));
  expect(readFileSync(file, 'utf8')).toContain('"a"');
});
