import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { expect, test, vi } from 'vitest';
import { plain } from '../../src/cli/output/plain.js';
import { screen } from '../../src/cli/status/OwnScreen.js';
import { readStatus } from '../../src/cli/status/readStatus.js';
import { statusLines } from '../../src/cli/status/render.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import type { StatusData } from '../../src/gateway/status/StatusData.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { Cli, MAIN } from '../support/cli.js';
import { closeAfter } from '../support/closeAfter.js';
import { commandHost } from '../support/commandHost.js';

const say = commandHost();

const EVIL = '\u001b[2J\u001b]0;pwned\u0007\u202e<b>';

async function serve(authenticate?: () => boolean) {
  const pool = closeAfter(new UnifiedPool({ ledger: false, backoff: { initialMs: 1 } }));
  const args = [resolve('test/fixtures/status-server.mjs')];
  pool.addServer({ name: 'one', transport: 'stdio', command: process.execPath, args });
  pool.addServer({ name: 'down', transport: 'stdio', command: `no-such-${'program'}` });
  pool.addServer({ name: 'far', url: `${'http'}://127.0.0.1:1/mcp` });
  const gateway = closeAfter(
    new Gateway({ pool, port: 0, status: authenticate === undefined ? true : { authenticate } }),
  );
  const { url } = await gateway.listen();
  await Promise.allSettled(pool.servers().map((name) => pool.startServer(name)));
  return { pool, url };
}

test('status shows how a running gateway stands, as text, as JSON, and again each second', async () => {
  const { pool, url } = await serve();
  await pool.callTool('one', 'echo', { text: 'x' });
  await pool.callTool('one', 'crash').catch(() => undefined);
  const watching = new Cli('status', '--url', url, '--watch', '--json');
  const [text, json] = await Promise.all([
    say(['status', '--url', url]),
    say(['status', '--url', `${url}/status`, '--json']),
  ]);
  expect([text.code, json.code]).toEqual([0, 0]);
  expect(text.stdout).toMatch(/^ {2}one +\S.* legacy, stdio +\d/m);
  expect(text.stdout).toMatch(/^ {2}down +failed/m);
  expect(text.stdout).toMatch(/^ {2}far +failed +url +\d/m);
  expect(text.stdout).toMatch(/down: .*no-such-program/);
  expect(text.stdout).toMatch(/crashed +one: it exited with code 3/);
  const data = JSON.parse(json.stdout) as StatusData;
  expect(data.snapshot.servers.find(({ name }) => name === 'one')).toMatchObject({ calls: 2, errors: 1 });
  await expect.poll(() => watching.output.split('\n').length, { timeout: 15_000 }).toBeGreaterThan(1);
  watching.kill('SIGINT');
  expect((await watching.exited).code).toBe(0);
});

test('where no gateway answers, or one asks who wants to know, it says so in one line', async () => {
  const { url } = await serve(() => false);
  const [gone, refused] = await Promise.all([
    say(['status', '--url', 'http://127.0.0.1:1']),
    say(['status', '--url', url, '--header', 'Authorization: Bearer wrong']),
  ]);
  expect([gone.code, gone.stdout]).toEqual([1, '']);
  expect(gone.stderr).toMatch(
    /^mcp-poolkit: no gateway answers at http:\/\/127\.0\.0\.1:1\/status\/data\.json: .*--url[^\n]*\n$/,
  );
  expect(refused.code).toBe(1);
  expect(refused.stderr).toMatch(/--header 'Authorization/);
});

test('an answer without end, or of no gateway, is one line and takes no memory; JSON steers no terminal', async () => {
  const { url } = await serve();
  const real = (await (await fetch(`${url}/status/data.json`)).json()) as StatusData;
  let sent = 0;
  const answers: Readonly<Record<string, (response: ServerResponse) => void>> = {
    '/endless': (response) => {
      const chunk = Buffer.alloc(1_024 * 1_024, 0x20);
      const more = (): void => {
        while (!response.destroyed && response.write(chunk)) sent += chunk.length;
      };
      response.on('drain', more);
      more();
    },
    '/odd': (response) => response.end(JSON.stringify({ ...real, snapshot: { ...real.snapshot, open: null } })),
    '/evil': (response) => response.end(JSON.stringify({ ...real, snapshot: { ...real.snapshot, version: EVIL } })),
  };
  const server = createServer((request, response) => {
    answers[request.url?.replace('/status/data.json', '') ?? '']?.(response);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const [endless, odd, evil] = await Promise.all(
    Object.keys(answers).map((path) => say(['status', '--json', '--url', at + path])),
  );
  expect([endless?.code, endless?.stderr]).toEqual([
    1,
    `mcp-poolkit: ${at}/endless/status/data.json answered too much\n`,
  ]);
  expect(sent).toBeLessThan(64 * 1_024 * 1_024);
  expect([odd?.code, odd?.stderr]).toEqual([
    1,
    `mcp-poolkit: ${at}/odd/status/data.json is no gateway of mcp-poolkit\n`,
  ]);
  expect(evil?.stdout).not.toContain('\u202e');
  expect((JSON.parse(evil?.stdout ?? '') as StatusData).snapshot.version).toBe(EVIL);
  server.closeAllConnections();
  await once(server.close(), 'close');
});

test('where its reader has gone status -w ends', async () => {
  const { url } = await serve();
  const watch = `exec '${process.execPath}' '${MAIN}' status -w --url '${url}'`;
  const headed = spawn('sh', ['-c', `(${watch}) | head -1`]);
  closeAfter({ close: async () => void headed.kill('SIGKILL') });
  expect((await once(headed.stdout, 'data')).toString()).toContain('mcp-poolkit');
  expect((await once(headed, 'exit'))[0]).toBe(0);
});

test('a screen has no more lines and columns than the terminal, and no terminal is too small', () => {
  const lines = Array.from({ length: 100 }, (_, i) => `${EVIL}${i}`.repeat(20));
  const sizes = [[24, 80], [3, 3], [2, 5], [1, 1], [0, 0], []] as const;
  const shown = sizes.map(([rows, columns]) => {
    const text = screen(lines, { ...(rows !== undefined && { rows }), ...(columns !== undefined && { columns }) });
    const each = text.slice('\u001b[H'.length, -'\u001b[J'.length).split('\n');
    const widths = each.map((line) => line.replace('\u001b[K', '').length);
    expect(each.every((line) => line.endsWith('\u001b[K') && !/[\p{Cc}\u202e]/u.test(line.slice(0, -3)))).toBe(true);
    return [each.length, Math.max(...widths)];
  });
  expect(shown).toEqual([
    [24, 80],
    [3, 3],
    [2, 5],
    [1, 1],
    [24, 80],
    [24, 80],
  ]);
});

test('nothing that a server, a tool or an error is called steers the terminal or begins a line', () => {
  const row = { name: EVIL, state: 'failed', transport: 'stdio', era: null, protocolVersion: null, breaker: 'closed' };
  const figures = {
    connections: 0,
    inFlight: 0,
    waiting: 0,
    calls: 0,
    errors: 0,
    retries: 0,
    restarts: 0,
    lateReplies: 0,
  };
  const data: StatusData = {
    snapshot: {
      at: 2_000,
      startedAt: 0,
      version: EVIL,
      gateway: {
        sessions: 0,
        streams: 0,
        inFlight: 0,
        requests: 0,
        refused: 0,
        droppedNotices: 0,
        heldBytes: 0,
        refusing: true,
      },
      process: { pid: 1, memory: 1, delayP99: 0 },
      servers: [
        {
          ...row,
          ...figures,
          p50: null,
          p99: null,
          memory: null,
          pids: [],
          startedAt: null,
          backoffMs: null,
          lastError: `${EVIL}\nforged`,
        },
      ],
      open: [
        {
          id: '1',
          method: EVIL,
          target: EVIL,
          era: 'legacy',
          ageMs: 1,
          at: [{ server: EVIL, sent: false, attempt: 0 }],
        },
      ],
      openMore: 3,
    },
    history: { times: [], servers: {} },
    events: [{ id: 1, at: 0, kind: 'crashed', server: EVIL, text: `${EVIL}\n${EVIL}` }],
  };
  const lines = statusLines(data);
  expect(lines.filter((line) => /[\p{Cc}\u202e]/u.test(line))).toEqual([]);
  expect(lines.join('\n')).toContain('\\u001b[2J');
  expect(lines.filter((line) => line.startsWith('forged'))).toEqual([]);
  expect(Math.max(...statusLines(data, 40).map(({ length }) => length))).toBe(40);
  expect(plain('a\tb\nc')).toBe('a b c');
  // Of a gateway of another kind anything may be a text that steers, words and numbers too.
  const hostile = JSON.parse(JSON.stringify(data), (_, value) =>
    typeof value === 'string' || value === 0 ? EVIL : value,
  ) as StatusData;
  expect(statusLines(hostile).filter((line) => /[\p{Cc}\u202e]/u.test(line))).toEqual([]);
  // One long cell widens no thousands of others.
  const [one] = data.snapshot.servers;
  const servers = Array.from({ length: 3_000 }, (_, i) => ({
    ...one,
    lastError: null,
    state: i > 0 ? 'x' : 'y'.repeat(9_000),
  }));
  const many = statusLines({ ...data, snapshot: { ...data.snapshot, servers } } as unknown as StatusData);
  expect(Math.max(...many.map(({ length }) => length))).toBeLessThan(1_000);
  expect(many).toContain('  and 1000 more');
  expect(many.length).toBeLessThan(2_100);
  const failing = servers.map((each) => ({ ...each, state: 'failed', lastError: 'e'.repeat(9_000) }));
  const events = [{ ...data.events[0], text: 't'.repeat(1e6) }];
  const said = statusLines({
    ...data,
    events,
    snapshot: { ...data.snapshot, servers: failing },
  } as unknown as StatusData);
  expect(Math.max(...said.map(({ length }) => length))).toBe(4_000);
  expect(said.filter((line) => line === '  and 1000 more')).toHaveLength(2);
  expect(said.length).toBeLessThan(4_100);
});

test('an answer that is small as a text and large as values is not parsed', async () => {
  const answers = { '/deep': '['.repeat(10_000), '/many': `[${'[],'.repeat(3e6)}[]]` };
  const server = createServer(({ url = '' }, response) => {
    response.end(Object.entries(answers).find(([path]) => url.startsWith(path))?.[1]);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  closeAfter({ close: async () => void server.close() });
  const parse = vi.spyOn(JSON, 'parse');
  for (const path of Object.keys(answers)) {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;
    await expect(readStatus({ url })).rejects.toThrow(/is no gateway of mcp-poolkit/);
  }
  expect(parse).not.toHaveBeenCalled();
  parse.mockRestore();
});
