import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test, vi } from 'vitest';
import { GatewayFiles } from '../../src/cli/desk/GatewayFiles.js';
import { GatewayStarter } from '../../src/cli/desk/GatewayStarter.js';
import { Presence } from '../../src/cli/desk/Presence.js';
import { HttpLink } from '../../src/gateway/stdio/HttpLink.js';
import { StdioBridge } from '../../src/gateway/stdio/StdioBridge.js';
import { startTimeOf } from '../../src/registry/process/processTable.js';
import { tempFolder } from '../support/tempFolder.js';

afterEach(() => {
  vi.unstubAllEnvs();
  vi.useRealTimers();
});

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
    `${process.pid} ${startTimeOf(process.pid)}`,
  ]);
  await files.release();
  // The last is of a starter that was killed, and whose number this process has got since.
  for (const owner of ['-1 1', '0 1', 'x', '999999999 1', `${process.pid} 1`]) {
    writeFileSync(lock, owner);
    expect([owner, await files.take(60_000)]).toEqual([owner, true]);
  }
  writeFileSync(lock, '');
  expect(await files.take(60_000)).toBe(false);
  utimesSync(lock, Date.now() / 1_000 - 5, Date.now() / 1_000 - 5);
  expect(await files.take(60_000)).toBe(true);
  expect(await files.take(-1)).toBe(true);
});

test('a lock and a log that have grown to gigabytes are read by their beginnings', async () => {
  const path = folder();
  const files = await GatewayFiles.of('1');
  writeFileSync(`${path + LOG}.lock`, '');
  truncateSync(`${path + LOG}.lock`, 3e9);
  expect(await files.take(60_000)).toBe(true);
  const { handle, from } = await files.openLog();
  await handle.writeFile('before');
  truncateSync(path + LOG, 3e9);
  expect((await files.logFrom(from)).length).toBe(2 ** 20);
  await handle.close();
});

const ANSWER = 'HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n';
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';

/** Writes again and again, until the connection is gone. */
function forEver(socket: Socket, text: string, everyMs = 1): void {
  let timer: NodeJS.Timeout | undefined;
  const again = (): void => {
    socket.write(text);
    timer = setTimeout(again, everyMs);
  };
  again();
  socket.once('close', () => clearTimeout(timer));
}

test.each<[string, number, (socket: Socket, path: string) => void]>([
  ['answers no longer', 1, () => undefined],
  ['never answers', 0, () => undefined],
  // More than 20 in a second are refused.
  ['sends interim responses for ever', 0, (socket) => forEver(socket, CONTINUE, 60)],
  [
    'sends a head that does not end',
    0,
    (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nx: ');
      forEver(socket, 'x');
    },
  ],
  [
    'answers without end whether it is there',
    0,
    (socket, path) => path === '/livez' && socket.write('HTTP/1.1 200 OK\r\n\r\n'),
  ],
])('a gateway that %s hangs: its calls are told at the second look', async (_, answers, hang) => {
  vi.useFakeTimers({ toFake: ['setInterval'] });
  const asked: string[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (data) => {
      const path = /^\w+ (\/\w+) HTTP/.exec(String(data))?.[1];
      if (path === undefined) return;
      if (asked.push(path) <= answers) socket.write(ANSWER);
      else hang(socket, path);
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
  const link = new HttpLink({ url });
  const [input, output] = [new PassThrough(), new PassThrough({ encoding: 'utf8' })];
  const bounds = {
    maxMessageBytes: 1e6,
    maxStreamBufferBytes: 1e6,
    maxBufferedBytes: 1e6,
    stallTimeoutMs: 30_000,
    graceMs: 30_000,
  };
  const over = new StdioBridge({ input, output, url, link, ...bounds }).run();
  const presence = new Presence({ url, calls: link, everyMs: 20_000 });
  const look = async (): Promise<void> => {
    vi.advanceTimersByTime(20_000);
    await sleep(30);
  };
  for (let looks = 1; looks <= answers; looks++) {
    await look();
    await vi.waitFor(() => expect(asked).toHaveLength(looks));
    await sleep(30);
  }
  // What only reads is not sent to it again.
  const _meta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' };
  const calls = ['tools/call', 'server/discover'].map((method) =>
    JSON.stringify({ jsonrpc: '2.0', id: method, method, params: { _meta } }),
  );
  input.end(`${calls.join('\n')}\n`);
  await look();
  await vi.waitFor(() => expect(asked.slice(answers).sort()).toEqual(['/livez', '/mcp', '/mcp']));
  await sleep(30);
  let told = '';
  output.on('data', (text: string) => {
    told += text;
  });
  await look();
  await vi.waitFor(() => expect(told.split('\n')).toHaveLength(3));
  for (const text of told.trim().split('\n')) {
    expect(JSON.parse(text).error).toMatchObject({
      message: expect.stringContaining('the gateway does not answer'),
      data: { code: 'ERR_OUTCOME_UNKNOWN', retryable: false },
    });
  }
  await over;
  presence[Symbol.dispose]();
  await new Promise((resolve) => void server.close(resolve));
});
