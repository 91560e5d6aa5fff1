// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of config files, not of ours
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { importConfigs } from '../../src/cli/import/importConfigs.js';
import { knownConfigs } from '../../src/cli/import/knownConfigs.js';
import { commandHost } from '../support/commandHost.js';
import { tempFolder } from '../support/tempFolder.js';

const say = commandHost();

vi.setConfig({ testTimeout: 60_000 });

function put(file: string, content: string): string {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  return file;
}

/** What this process writes to stdout and stderr until the test ends. */
function hearing(): string[] {
  const heard: string[] = [];
  for (const stream of [process.stdout, process.stderr]) {
    const written = vi.spyOn(stream, 'write').mockImplementation((text, ...rest: unknown[]) => {
      heard.push(String(text));
      for (const done of rest) if (typeof done === 'function') done();
      return true;
    });
    onTestFinished(() => written.mockRestore());
  }
  return heard;
}

/** What an import says, in this process. */
async function importing(files: readonly string[], out: string, dryRun = false): Promise<string> {
  const { exitCode } = process;
  const heard = hearing();
  await importConfigs(files, { out, dryRun });
  process.exitCode = exitCode;
  return heard.join('');
}

test('the gateway that a client starts of the very config is left out: it would be a client of itself', async () => {
  const folder = tempFolder();
  const out = join(folder, 'mcp.json');
  const shim = (...args: string[]): object => ({
    command: 'npx',
    args: ['mcp-poolkit', 'connect', 'http://h/mcp', ...args],
  });
  const mcpServers = {
    a: { command: 'x' },
    by: shim('--start', '--config', out),
    short: shim('--start', '--config=mcp.json'),
    shorter: shim('--start', '-c', 'mcp.json'),
    other: shim('--start', '--config', join(folder, 'other.json')),
  };
  const said = await importing([put(join(folder, 'client.json'), JSON.stringify({ mcpServers }))], out);
  expect(said).toContain(`by (left out: it is the gateway of ${out} itself), short (left out`);
  expect(Object.keys(JSON.parse(readFileSync(out, 'utf8')).mcpServers)).toEqual(['a', 'other']);
});

test('the configs of several clients are merged: doubles once, names kept apart, references kept, places spelled out', async () => {
  const folder = tempFolder();
  const cursor = put(
    join(folder, 'work/.cursor/mcp.json'),
    '{ "mcpServers": { "files": { "command": "f", "args": ["${workspaceFolder}/x"], "env": { "T": "${NOT_SET}" }, "cwd": "sub" } } } // mine',
  );
  const codex = put(
    join(folder, 'config.toml'),
    '[mcp_servers.files]\ncommand = "other"\n[mcp_servers.same]\ncommand = "s"\n[mcp_servers.web]\nurl = "https://w/mcp"\nbearer_token_env_var = "W"\n',
  );
  const out = put(
    join(folder, 'mcp.json'),
    '{ "mcpServers": { "mine": { "command": "s" } }, "gateway": { "expose": "search" } }',
  );
  const dry = await say(['import', cursor, codex, '--out', out, '--dry-run']);
  expect([dry.code, dry.stderr]).toEqual([0, '']);
  expect(dry.stdout).toContain('would have 4 servers, 3 of them new');
  expect(readFileSync(out, 'utf8')).not.toContain('other');
  const { code, stdout } = await say(['import', cursor, codex, '--out', out]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/files as files-file, same \(there already\), web/);
  expect(JSON.parse(readFileSync(out, 'utf8'))).toEqual({
    mcpServers: {
      mine: { command: 's' },
      files: {
        command: 'f',
        args: [`${join(folder, 'work')}/x`],
        env: { T: '${NOT_SET}' },
        cwd: join(folder, 'work/.cursor/sub'),
      },
      'files-file': { command: 'other' },
      web: { url: 'https://w/mcp', headers: { Authorization: 'Bearer ${W}' } },
    },
    gateway: { expose: 'search' },
  });
  expect(statSync(out).mode & 0o777).toBe(0o600);
  expect((await say(['import', cursor, '--out', out])).stdout).toContain('has 4 servers, 0 of them new');
});

test('files without servers are told, with 1, and nothing is written; what is good beside a bad file is imported', async () => {
  const folder = tempFolder();
  const file = (name: string, text: string): string => put(join(folder, name), text);
  const bad = [
    file('text', 'hello'),
    file('list', '[]'),
    file('none', '{}'),
    file('zero', ''),
    file('empty', '{ "mcpServers": {} }'),
  ];
  const out = join(folder, 'out.json');
  const nothing = await say(['import', ...bad, '--out', out]);
  expect([nothing.code, nothing.stdout]).toEqual([1, '']);
  expect(nothing.stderr).toMatch(
    /nothing was imported: no server was found in .*text, .*list, .*none, .*zero, .*empty\n$/,
  );
  expect(existsSync(out)).toBe(false);
  const some = await say([
    'import',
    ...bad,
    file('good', '{ "mcpServers": { "s": { "command": "s" } } }'),
    '--out',
    out,
  ]);
  expect(some.code).toBe(1);
  expect(some.stdout).toContain('out.json has 1 servers, 1 of them new.');
  expect(some.stderr).toContain('text: not JSON');
  const itself = await say(['import', out, '--out', out]);
  expect([itself.code, itself.stderr]).toEqual([1, expect.stringContaining('is the config to write')]);
});

test('a config that has no servers yet is added to; one whose comments would be lost, or that none could read then, is not written', async () => {
  const folder = tempFolder();
  const at = (name: string, text: string): string => put(join(folder, name), text);
  const one = at('one.json', '{ "mcpServers": { "s": { "command": "s" } } }');
  const after = async (name: string, text: string, from = [one]): Promise<readonly [string, string]> => {
    const out = at(name, text);
    return [await importing(from, out), readFileSync(out, 'utf8')];
  };
  const large = (name: string): string => {
    const entry = { command: name, args: [name.repeat(4_500_000)] };
    return at(`${name}.json`, JSON.stringify({ mcpServers: { [name]: entry } }));
  };
  const many = {
    mcpServers: Object.fromEntries(Array.from({ length: 1_200 }, (_, i) => [`m${i}`, { command: `${i}` }])),
  };
  const all = await importing([at('many.json', JSON.stringify(many))], join(folder, 'all.json'));
  expect(all).toMatch(/ m999, 200 more of the kind\n.*has 1200 servers, 1200 of them new/);
  const mcpServers = { s: { command: 's' } };
  const gateway = { expose: 'search' };
  for (const text of ['{}', '', `\uFEFF${JSON.stringify({ gateway })}`]) {
    const [told, now] = await after('begun', text);
    expect(told).toContain('has 1 servers, 1 of them new');
    expect(JSON.parse(now)).toEqual({ ...(text.includes('gateway') && { gateway }), mcpServers });
  }
  const commented = '{ "mcpServers": {} } // mine';
  expect(await after('kept', commented)).toEqual([
    expect.stringMatching(/^mcp-poolkit: .*kept is not written: its comments/),
    commented,
  ]);
  const other = '{ "servers": { "old": { "command": "o" } } }';
  expect(await after('other', other)).toEqual([expect.stringMatching(/other is not written: name its table/), other]);
  expect(await after('full', '{}', [large('a'), large('b')])).toEqual([
    expect.stringMatching(/full is not written: with 2 servers .* more than 8388608 bytes/),
    '{}',
  ]);
});

test('imports into one file at the same time, by whichever of its names, lose nothing of each other', async () => {
  const folder = tempFolder();
  const out = put(join(folder, 'out.json'), '{ "mcpServers": {} }');
  const link = join(folder, 'link.json');
  symlinkSync(out, link);
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  const heard = hearing();
  const one = (name: string, at: number): Promise<void> => {
    const file = put(join(folder, `${name}.json`), `{ "mcpServers": { "${name}": { "command": "${name}" } } }`);
    return importConfigs([file], { out: at % 2 === 0 ? out : link });
  };
  await Promise.all(names.map(one));
  expect(heard.join('')).toContain('has 6 servers');
  const { mcpServers } = JSON.parse(readFileSync(out, 'utf8')) as { mcpServers: object };
  expect(Object.keys(mcpServers).sort()).toEqual(names);
  expect(readdirSync(folder).filter((name) => name.includes('.lock'))).toEqual([]);
});

test('a config whose folder is not there is named with that, also by --dry-run', async () => {
  const folder = tempFolder();
  const good = put(join(folder, 'mcp.json'), '{ "mcpServers": { "good": { "command": "g" } } }');
  const out = join(folder, 'no/such/mcp.json');
  const why = `mcp-poolkit: ${out} is not written: there is no folder ${dirname(out)}\n`;
  expect([await importing([good], out), await importing([good], out, true)]).toEqual([why, why]);
  const beside = join(good, 'mcp.json');
  expect(await importing([good], beside)).toBe(`mcp-poolkit: ${beside} is not written: there is no folder ${good}\n`);
});

test('a URL with a reference in it stays what it is, whether its variable is set or not', async () => {
  const folder = tempFolder();
  const mcpServers = {
    whole: { url: '${NOT_SET}' },
    begun: { url: '${NOT_SET:-http://127.0.0.1:9}/mcp' },
    port: { type: 'http', url: 'http://localhost:${NOT_SET}/mcp', headers: { Authorization: 'Bearer ${NOT_SET}' } },
    oauth: { url: 'https://${NOT_SET}/mcp', auth: { type: 'oauth', clientId: 'i', issuer: '${NOT_SET}' } },
    several: { targets: [{ url: 'http://${NOT_SET}:${NOT_SET}/mcp' }, { url: 'http://b/mcp' }] },
  };
  const out = join(folder, 'out.json');
  const file = (servers: object): string => put(join(folder, 'c.json'), JSON.stringify({ mcpServers: servers }));
  expect(await importing([file(mcpServers)], out)).toContain('has 5 servers, 5 of them new');
  expect(JSON.parse(readFileSync(out, 'utf8'))).toEqual({ mcpServers });
  const bad = { plain: { url: 'localhost:80' }, odd: { url: '${not a name}/mcp' }, well: { command: 'x' } };
  const said = await importing([file(bad)], out);
  expect(said).toContain('server "plain", field url: expected an absolute http or https URL');
  expect(said).toContain('server "odd", field url: ${not a name} is not understood');
  expect(said).toContain('has 6 servers, 1 of them new');
});

/** A home and a working folder that are this test's alone. */
function ownFolders(): { readonly home: string; readonly work: string } {
  const [home, work] = [tempFolder(), tempFolder()];
  for (const [name, value] of Object.entries({ HOME: home, XDG_CONFIG_HOME: home, CODEX_HOME: home })) {
    vi.stubEnv(name, value);
  }
  const cwd = vi.spyOn(process, 'cwd').mockReturnValue(work);
  onTestFinished(() => {
    vi.unstubAllEnvs();
    cwd.mockRestore();
  });
  return { home, work };
}

test('opencode’s files are found with and without comments, also those that hold other settings alone', async () => {
  const { home, work } = ownFolders();
  const local = (name: string): string =>
    `{ "mcp": { "${name}": { "type": "local", "command": ["${name}"] } } } // mine`;
  put(join(work, 'opencode.jsonc'), local('a'));
  put(join(work, 'opencode.json'), '{ "model": "m" }');
  put(join(work, '.opencode/opencode.json'), '{ "mcp": {} }');
  put(join(home, 'opencode/opencode.json'), local('b'));
  const out = join(work, 'mcp.json');
  expect(await importing([], out)).toMatch(
    /\.opencode\/opencode\.json: no servers\n.*: a\n.*: b\n.*2 of them new\.\n$/,
  );
  expect(JSON.parse(readFileSync(out, 'utf8')).mcpServers).toMatchObject({ a: { command: 'a' }, b: { command: 'b' } });
});

test('known clients have their configs where they keep them', () => {
  const on = (platform: NodeJS.Platform) =>
    knownConfigs('/work', { HOME: '/home/ada', APPDATA: '/home/ada/Roaming' }, platform).map(({ file }) => file);
  expect(on('linux')).toEqual(
    expect.arrayContaining([
      '/work/.vscode/mcp.json',
      '/home/ada/.config/zed/settings.json',
      '/home/ada/.codex/config.toml',
    ]),
  );
  expect(on('darwin')).toContain('/home/ada/Library/Application Support/Claude/claude_desktop_config.json');
  expect(on('win32')).toContain('/home/ada/Roaming/Claude/claude_desktop_config.json');
});

test('servers that Claude Code keeps for this folder alone are found, those of other folders are not', async () => {
  const { home, work } = ownFolders();
  const out = join(work, 'mcp.json');
  const projects = { [work]: { mcpServers: { local: { type: 'http', url: 'http://h/' } } }, '/o': { mcpServers: {} } };
  const claude = (root: object): string => put(join(home, '.claude.json'), JSON.stringify(root, null, 2));
  claude({ numStartups: 3, projects: { '/o': { mcpServers: { foreign: { command: 'f' } } } } });
  expect(await importing([], out)).toBe(
    'mcp-poolkit: no config of a known client was found: name the files to import\n',
  );
  const file = claude({ projects, mcpServers: { user: { command: 'u' } } });
  expect(await importing([], out)).toBe(
    `  ${file}, projects.${work}: local\n  ${file}: user\n${out} has 2 servers, 2 of them new.\n`,
  );
  expect(JSON.parse(readFileSync(out, 'utf8'))).toEqual({
    mcpServers: { local: { type: 'http', url: 'http://h/' }, user: { command: 'u' } },
  });
  // A mistake is told with its line.
  claude({ projects: { [work]: { mcpServers: { local: { command: 7 } } } } });
  expect(await importing([], out)).toMatch(/server "local", field command: expected a string \(line 6\)/);
});

test('a file whose key has thousands of levels is told by its name, and takes no other with it', async () => {
  const folder = tempFolder();
  const deep = put(join(folder, 'config.toml'), `[mcp_servers.a]\ncommand = "x"\n${'a.'.repeat(30_000)}b = 1\n`);
  const good = put(join(folder, 'mcp.json'), '{ "mcpServers": { "good": { "command": "g" } } }');
  const out = join(folder, 'out.json');
  expect(await importing([deep, good], out)).toContain(`${deep}: not TOML: it is nested too deep to be read`);
  expect(Object.keys(JSON.parse(readFileSync(out, 'utf8')).mcpServers)).toEqual(['good']);
});
