import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, expect, test, vi } from 'vitest';
import { GatewayFiles } from '../../src/cli/desk/GatewayFiles.js';
import { GatewayStarter } from '../../src/cli/desk/GatewayStarter.js';
import { Presence } from '../../src/cli/desk/Presence.js';
import { HttpLink } from '../../src/gateway/stdio/HttpLink.js';
import { StdioBridge } from '../../src/gateway/stdio/StdioBridge.js';
import { tempFolder } from '../support/tempFolder.js';

afterEach(() => void vi.unstubAllEnvs());

/** The folder of the log and the lock, and what stands in it. */
function folder(): string {
  const state = tempFolder();
  vi.stubEnv('XDG_STATE_HOME', state);
  const path = join(state, 'mcp-poolkit');
  mkdirSync(path, { mode: 0o700 });
  return path;
}

test.each<[string, (path: string) => void]>([
  ['a link to a large file', (path) => symlinkSync(join(path, 'foreign'), path + LOG)],
  ['a pipe', (path) => execFileSync('mkfifo', [path + LOG])],
  ['a folder', (path) => mkdirSync(path + LOG)],
  ['a pipe as the lock', (path) => execFileSync('mkfifo', [`${path + LOG}.lock`])],
  ['a folder as the lock', (path) => mkdirSync(`${path + LOG}.lock`)],
  ['a link to nothing as the lock', (path) => symlinkSync('/none', `${path + LOG}.lock`)],
])('where the log of a gateway is to be there is %s: it is named, and nothing is touched', async (_, plant) => {
  const path = folder();
  const foreign = 'x'.repeat(1_100_000);
  writeFileSync(join(path, 'foreign'), foreign);
  plant(path);
  const starting = new GatewayStarter(new URL('http://127.0.0.1:1/mcp'), 'mcp.json', 1_000).start(
    new AbortController().signal,
  );
  await expect(starting).rejects.toThrow(/gateway-1\.log.* is no plain file of this user/);
  expect(readFileSync(join(path, 'foreign'), 'utf8')).toBe(foreign);
});

const LOG = '/gateway-1.log';

test('a state folder that takes no folders is an error that names it', async () => {
  vi.stubEnv('XDG_STATE_HOME', '/proc/none');
  await expect(GatewayFiles.of('1')).rejects.toThrow('/proc/none cannot be made');
});

test('the lock is of one starter, until it is let go, its owner is gone or it is too old; the folder is closed to others', async () => {
  const path = folder();
  chmodSync(path, 0o777);
  const files = await GatewayFiles.of('1');
  const lock = `${path + LOG}.lock`;
  expect([await files.take(60_000), await files.take(60_000), readFileSync(lock, 'utf8')]).toEqual([
    true,
    false,
    String(process.pid),
  ]);
  await files.release();
  for (const owner of ['-1', '0', 'x', '999999999']) {
    writeFileSync(lock, owner);
    expect([owner, await files.take(60_000)]).toEqual([owner, true]);
  }
  expect(await files.take(-1)).toBe(true);
});

test('a gateway that hangs: its calls are told', async () => {
  let hangs = false;
  const server = createServer((req, res) => {
    if (!hangs) res.end('ok');
    else req.resume();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const asked = once(server, 'request');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
  const link = new HttpLink({ url });
  const [input, output] = [new PassThrough(), new PassThrough({ encoding: 'utf8' })];
  const bounds = { maxMessageBytes: 1e6, maxBufferedBytes: 1e6, stallTimeoutMs: 30_000, graceMs: 30_000 };
  const over = new StdioBridge({ input, output, url, link, ...bounds }).run();
  const presence = new Presence({ url, calls: link, everyMs: 50 });
  await asked;
  hangs = true;
  input.end('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}\n');
  const [text] = await once(output, 'data');
  expect(JSON.parse(text)).toMatchObject({
    id: 1,
    error: {
      message: expect.stringContaining('the gateway does not answer'),
      data: { code: 'ERR_OUTCOME_UNKNOWN', retryable: false },
    },
  });
  await over;
  presence[Symbol.dispose]();
  server.closeAllConnections();
  await new Promise((resolve) => void server.close(resolve));
});
