import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { Cli, configFile, MAIN, run } from '../support/cli.js';
import { freePort } from '../support/httpServers.js';
import { fixture } from '../support/servers.js';
import { tempFolder } from '../support/tempFolder.js';

// Programs start here, several at once, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

const node = process.execPath;
const echo = { command: node, args: [fixture('echo-server.mjs')] };
const ITSELF = /is served by the gateway that started this one: leave the gateway itself out/;

/** A config whose entry `all` starts the CLI with what `args` makes of the config's name; a fourth start fails. */
function holding(args: (file: string) => readonly string[]): string {
  const folder = tempFolder();
  const [file, starts] = [join(folder, 'mcp.json'), join(folder, 'starts')];
  const script = `test $(wc -c < "${starts}") -gt 2 && exit 9; printf x >> "${starts}"; exec "${node}" "${MAIN}" "$@"`;
  writeFileSync(starts, '');
  const all = { command: 'sh', args: ['-c', script, 'sh', ...args(file)], cwd: folder };
  writeFileSync(file, JSON.stringify({ mcpServers: { all, good: echo } }));
  return file;
}

test('a gateway that is in its own config is started once, and a problem names its entry', async () => {
  const port = await freePort();
  const kinds: readonly ((file: string) => readonly string[])[] = [
    (file) => ['serve', '--stdio', '--config', file],
    () => ['serve', '--stdio'],
    (file) => ['serve', '--port', '0', '--workers', '2', '--config', file],
    (file) => ['connect', `http://127.0.0.1:${port}/mcp`, '--start', '--config', file],
  ];
  await Promise.all(
    kinds.map(async (args) => {
      const program = new Cli('serve', '--config', holding(args), '--port', '0', '--json', '--log-level', 'silent');
      expect(await program.event('problem')).toMatchObject({ server: 'all', message: expect.stringMatching(ITSELF) });
      const { servers } = await program.event('ready');
      expect(servers).toMatchObject([{ name: 'all' }, { name: 'good', state: 'ready' }]);
      program.kill('SIGTERM');
      expect((await program.exited).code).toBe(0);
    }),
  );
});

test('doctor names it, too', async () => {
  const { stdout } = await run(
    'doctor',
    '--config',
    holding((file) => ['serve', '--stdio', '--config', file]),
  );
  expect(stdout).toMatch(ITSELF);
});

test('a gateway of another config is a server like any other', async () => {
  const below = configFile({ echo });
  const file = holding(() => ['serve', '--stdio', '--config', below]);
  const program = new Cli('serve', '--config', file, '--port', '0', '--json');
  const { servers } = await program.event('ready');
  expect(servers).toMatchObject([
    { name: 'all', state: 'ready' },
    { name: 'good', state: 'ready' },
  ]);
  program.kill('SIGTERM');
  expect((await program.exited).code).toBe(0);
});
