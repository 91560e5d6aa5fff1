import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test, vi } from 'vitest';
import { closeAfter } from '../support/closeAfter.js';
import { RawClient } from '../support/httpClient.js';
import { descendantsOf, isAlive } from '../support/processes.js';
import { Program } from '../support/program.js';
import { fixture } from '../support/servers.js';
import { tempFolder } from '../support/tempFolder.js';

// Far above what a forced end takes, far below what the first signal alone gives a call in flight.
vi.setConfig({ testTimeout: 20_000 });

const ROOT = resolve(import.meta.dirname, '../..');

/** The first program of the README, over the echo fixture under the name that it calls. */
async function readmeProgram(...flags: string[]): Promise<{ readonly program: Program; readonly url: string }> {
  const [, code = ''] = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, 'README.md'), 'utf8')) ?? [];
  const folder = tempFolder();
  const args = [fixture('echo-server.mjs'), ...flags];
  const mcpServers = { everything: { command: process.execPath, args } };
  writeFileSync(join(folder, 'mcp.json'), JSON.stringify({ mcpServers }));
  const written = code.replace("'mcp.json'", JSON.stringify(join(folder, 'mcp.json'))).replace('message: ', 'text: ');
  expect(written).not.toBe(code);
  // Inside the package, so that it finds it by name as a user's program does.
  const build = join(ROOT, '.build/examples');
  mkdirSync(build, { recursive: true });
  const file = join(build, `readme.${folder.slice(-6)}.mjs`);
  writeFileSync(file, written);
  closeAfter({ close: async () => rmSync(file) });
  const program = new Program(file, { env: { PORT: '0', XDG_STATE_HOME: folder } });
  const url = (await program.line(/serving (http:\S+)\/mcp/))[1] ?? '';
  return { program, url };
}

/** Until new calls are refused: the first signal has begun the shutdown. */
async function refusing(url: string): Promise<void> {
  await expect
    .poll(
      () =>
        fetch(`${url}/mcp`, { method: 'POST', body: '{}' }).then(
          ({ status }) => status,
          () => 'refused',
        ),
      { timeout: 30_000 },
    )
    .toSatisfy((answer) => answer === 503 || answer === 'refused');
}

const call = async (url: string, name: string, args: object): Promise<unknown> => {
  const client = new RawClient(`${url}/servers/everything/mcp`);
  await client.initialize();
  return client.call('tools/call', { name, arguments: args }).catch((error: unknown) => error);
};

test.each(['SIGINT', 'SIGTERM'] as const)(
  'the README’s program: %s alone answers what is in flight, and no child is left',
  async (signal) => {
    const { program, url } = await readmeProgram();
    const children = descendantsOf(program.pid);
    expect(children.length).toBeGreaterThan(0);
    const answer = call(url, 'sleep', { ms: 500 });
    await expect.poll(async () => await call(url, 'calls', {})).toMatchObject({ result: {} });
    program.kill(signal);
    expect(await answer).toMatchObject({ result: { content: [{ type: 'text' }] } });
    expect(await program.exited).toEqual({ code: 0, signal: null });
    // Killed before the exit, and gone once the kernel has come to it.
    await expect.poll(() => children.filter(isAlive)).toEqual([]);
  },
);

test.each([
  ['SIGINT', 'SIGINT'],
  ['SIGINT', 'SIGTERM'],
  ['SIGTERM', 'SIGINT'],
  ['SIGTERM', 'SIGTERM'],
] as const)(
  'the README’s program: %s, then %s ends it with a call in flight that never ends, and no child is left',
  async (first, second) => {
    const { program, url } = await readmeProgram('--ignore-eof', '--ignore-term');
    const children = descendantsOf(program.pid);
    expect(children.length).toBeGreaterThan(0);
    const answer = call(url, 'sleep', { ms: 600_000 });
    await expect.poll(async () => await call(url, 'calls', {})).toMatchObject({ result: {} });
    program.kill(first);
    await refusing(url);
    // A second one within `repeatMs` would be the same wish.
    await new Promise((done) => setTimeout(done, 400));
    program.kill(second);
    expect(await program.exited).toEqual({ code: 128 + constants.signals[second], signal: null });
    // Killed before the exit, and gone once the kernel has come to it.
    await expect.poll(() => children.filter(isAlive)).toEqual([]);
    await answer;
  },
);
