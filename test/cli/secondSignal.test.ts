import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { Cli, configFile, MAIN, mark } from '../support/cli.js';
import { closeAfter } from '../support/closeAfter.js';
import { tempFolder } from '../support/tempFolder.js';

/** A server that heeds no signal and not the end of its stdin; it makes a file once it was called, or is started with `idle`. */
const STUBBORN = `for (const each of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) process.on(each, () => {});
setInterval(() => {}, 1000);
const [ready, idle] = process.argv.slice(1);
const up = () => require('node:fs').writeFileSync(ready, '');
if (idle) up();
const results = {
  initialize: { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 's', version: '1' } },
  'tools/list': { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] },
  'tools/call': { content: [{ type: 'text', text: '' }] },
};
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method } = JSON.parse(line);
  if (method === 'tools/call') up();
  if (id !== undefined) process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, result: results[method] ?? {} }) + '\\n');
});`;

test.each(['bench', 'fault', 'replay'])('a second signal ends %s and its server, which heeds none', async (command) => {
  const { env, bearers } = mark();
  const folder = tempFolder();
  const ready = join(folder, 'ready');
  const server = { command: process.execPath, args: ['-e', STUBBORN, ready, ...(command === 'fault' ? ['idle'] : [])] };
  const plan = join(folder, 'plan.json');
  writeFileSync(plan, JSON.stringify({ rules: [] }));
  const marked = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const recording = join(folder, 'recording.jsonl');
  const message = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: {} } };
  writeFileSync(
    recording,
    JSON.stringify({ type: 'message', atMs: 1, server: 's', wire: 'w', from: 'client', message }),
  );
  const behind = ['--', 'env', ...marked, server.command, ...server.args];
  const args =
    command === 'bench'
      ? ['--direct', 'stubborn', '--config', configFile({ stubborn: { ...server, env } })]
      : command === 'fault'
        ? ['--plan', plan, ...behind]
        : [recording, ...behind];
  const cli = new Cli(command, ...args);
  await vi.waitFor(() => expect(existsSync(ready)).toBe(true), { timeout: 15_000 });
  expect(bearers()).toHaveLength(1);
  // Then it ends by itself: from here on it waits for its server alone.
  if (command === 'replay') await cli.line(/guilty/i);
  cli.kill('SIGHUP');
  const again = setInterval(() => cli.kill('SIGINT'), 50);
  await cli.exited.finally(() => clearInterval(again));
  // It was killed before its parent exited; a busy machine takes a moment to end it.
  await vi.waitFor(() => expect(bearers()).toEqual([]), { timeout: 5_000 });
});

test('a signal while record starts its server ends both', async () => {
  const { env, bearers } = mark();
  const folder = tempFolder();
  const ready = join(folder, 'ready');
  const marked = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  // The server sends it itself, as early as can be, and then heeds nothing.
  const early = ['sh', '-c', 'kill -HUP $PPID; exec "$@"', 'sh', process.execPath, '-e', STUBBORN, ready, 'idle'];
  const cli = new Cli('record', '--out', join(folder, 'recording.jsonl'), '--', 'env', ...marked, ...early);
  await vi.waitFor(() => expect(existsSync(ready)).toBe(true), { timeout: 15_000 });
  // The second one spares the wait for a server that heeds none.
  const again = setInterval(() => cli.kill('SIGINT'), 50);
  await cli.exited.finally(() => clearInterval(again));
  await vi.waitFor(() => expect(bearers()).toEqual([]), { timeout: 5_000 });
});

/** Told to end, it leaves one behind that runs from session to session and then stays. */
const LEAVER = `hop='[ "$1" -gt 0 ] && { setsid sh -c "$0" "$0" $(($1 - 1)) & exit 0; }; exec sleep 60'
echo '{"jsonrpc":"2.0","method":"notifications/up"}'; cat; sh -c "$hop" "$hop" 20 </dev/null >/dev/null 2>&1; exit 3`;

test.each(['record', 'fault'])(
  '%s ends after all that its server leaves behind when it is told to end',
  async (command) => {
    const { env, bearers } = mark();
    const folder = tempFolder();
    const plan = join(folder, 'plan.json');
    writeFileSync(plan, '{}');
    const marked = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const own = command === 'record' ? ['--out', join(folder, 'recording.jsonl')] : ['--plan', plan];
    const cli = new Cli(command, ...own, '--', 'env', ...marked, 'sh', '-c', LEAVER);
    await cli.line(/up/);
    cli.kill('SIGTERM');
    expect(await cli.exited).toEqual({ code: 3, signal: null });
    expect(bearers()).toEqual([]);
  },
);

test('a client that reads nothing does not keep fault from ending at one signal', async () => {
  const plan = join(tempFolder(), 'plan.json');
  writeFileSync(plan, '{}');
  const server = ['sh', '-c', 'head -c 2000000 /dev/zero | tr "\\0" x; echo; cat >/dev/null'];
  const child = spawn(process.execPath, [MAIN, 'fault', '--plan', plan, '--', ...server]);
  closeAfter({ close: async () => void child.kill('SIGKILL') });
  await once(child.stdout, 'readable');
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  expect(await ended).toEqual([0, null]);
});
