import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Gateway } from '../src/gateway/Gateway.js';
import { UnifiedPool } from '../src/pool/UnifiedPool.js';
import { readConfigFile } from '../src/registry/config/configFile.js';
import type { ServerConfig } from '../src/registry/config/ServerConfig.js';
import { LifecycleManager } from '../src/registry/lifecycle/LifecycleManager.js';
import { FileCache } from '../src/toolstore/FileCache.js';
import { closeAfter } from './support/closeAfter.js';
import { exchange, RawClient } from './support/httpClient.js';
import { everythingHttp, everythingSse } from './support/httpServers.js';
import { echo } from './support/stdioPool.js';
import { tempFolder } from './support/tempFolder.js';

/**
 * A throw in every parser of what comes from outside: JSON.parse itself throws an error that is no SyntaxError, for texts that hold a
 * mark. It is a failure of that call, connection or file; nothing is unhandled, and what comes next is served.
 */
const MARK = 'planted-in-the-parser';
const unhandled: unknown[] = [];
const note = (error: unknown): void => void unhandled.push(error);
const parse = JSON.parse;
let thrown = 0;

beforeAll(() => {
  process.on('unhandledRejection', note);
  process.on('uncaughtException', note);
  JSON.parse = (text: string, reviver?: (this: unknown, key: string, value: unknown) => unknown) => {
    if (typeof text === 'string' && text.includes(MARK)) {
      thrown++;
      throw new RangeError('planted');
    }
    return parse(text, reviver) as unknown;
  };
});
afterAll(() => {
  JSON.parse = parse;
  process.off('unhandledRejection', note);
  process.off('uncaughtException', note);
});
afterEach(async () => {
  for (let i = 0; i < 3; i++) await new Promise((done) => setImmediate(done));
  expect(unhandled.splice(0)).toEqual([]);
  expect(thrown, 'throws of the parser').toBeGreaterThan(0);
  thrown = 0;
});

const HTTP_ECHO = resolve(import.meta.dirname, '../bench/servers/http-echo.mjs');

/** Each kind of answer: its server, and the tool that says a text back. */
const ANSWERS: Readonly<Record<string, () => Promise<{ server: ServerConfig; tool: string; argument: string }>>> = {
  'a line of stdio': async () => ({ server: echo(), tool: 'echo', argument: 'text' }),
  'an event of Streamable HTTP': async () => {
    const { url } = await everythingHttp();
    return { server: { name: 'echo', transport: 'http', url }, tool: 'echo', argument: 'message' };
  },
  'an event of SSE': async () => {
    const { url } = await everythingSse();
    return { server: { name: 'echo', transport: 'sse', url }, tool: 'echo', argument: 'message' };
  },
};

test.each(Object.keys(ANSWERS))('the parser of %s', async (kind) => {
  const found = await ANSWERS[kind]?.();
  if (found === undefined) throw new Error(kind);
  const pool = closeAfter(new UnifiedPool({ requestTimeoutMs: 2_000 }));
  pool.addServer(found.server);
  const call = (text: string) =>
    pool.request('echo', 'tools/call', { name: found.tool, arguments: { [found.argument]: text } });
  await call('before');
  await expect(call(MARK)).rejects.toMatchObject({
    code: expect.stringMatching(/^ERR_(PROTOCOL|OUTCOME_UNKNOWN|REQUEST_TIMEOUT)$/),
  });
  expect(JSON.stringify(await call('after'))).toContain('after');
  expect(pool.stats('echo')).toMatchObject({ inFlight: 0 });
});

test('the parser of a JSON body of Streamable HTTP', async () => {
  const child = spawn(process.execPath, [HTTP_ECHO], { stdio: ['ignore', 'pipe', 'inherit'] });
  closeAfter({ close: async () => void child.kill('SIGKILL') });
  const port = await new Promise<string>((done) => child.stdout.once('data', (data) => done(String(data).trim())));
  const pool = closeAfter(new UnifiedPool({ requestTimeoutMs: 2_000 }));
  pool.addServer({ name: 'echo', transport: 'http', url: `http://127.0.0.1:${port}/json`, era: 'legacy' });
  const call = (text: string) => pool.request('echo', 'tools/call', { name: 'echo', arguments: { text } });
  await expect(call(MARK)).rejects.toMatchObject({ code: 'ERR_PROTOCOL' });
  expect(JSON.stringify(await call('after'))).toContain('after');
});

test('the parser of what a client sends to the gateway', async () => {
  const pool = closeAfter(new UnifiedPool({}));
  pool.addServer(echo());
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const { url } = await gateway.listen();
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const { status, text } = await exchange(`${url}/mcp`, { headers, body: `{"${MARK}":1}` });
  expect(status).toBe(400);
  expect(text).toMatch(/-32700/);
  const client = new RawClient(`${url}/mcp`);
  await client.initialize();
  expect((await client.call('tools/list')).result).toHaveProperty('tools');
});

test('the parser of a cached file: it is no entry, and the cache goes on', async () => {
  const directory = tempFolder();
  const first = new FileCache({ directory });
  await first.set('key', { text: MARK });
  await first.close();
  const second = closeAfter(new FileCache({ directory }));
  expect(await second.get('key')).toBeUndefined();
  await second.set('key', { text: 'new' });
  expect(await second.get('key')).toMatchObject({ text: 'new' });
});

test('the parser of a config file: the error names the file', async () => {
  const file = join(tempFolder(), 'mcp.json');
  writeFileSync(file, `{ "mcpServers": { "${MARK}": { "command": "x" } } }`);
  const { servers, problems } = await readConfigFile(file);
  expect(servers).toEqual([]);
  expect(problems.map(({ message }) => message)).toEqual([
    expect.stringMatching(/mcp\.json: not JSON: it is nested too deep/),
  ]);
});

test('the parser of a ledger’s record: servers start beside it', async () => {
  const directory = tempFolder();
  const seed = closeAfter(new LifecycleManager({ ledger: { directory } }));
  await seed.start({ id: 'a', name: 'a', command: 'sleep', args: ['30'] });
  const folders = readdirSync(directory, { recursive: true, withFileTypes: true });
  const record = folders.find((each) => each.isFile() && each.name.endsWith('.json'));
  const folder = record?.parentPath ?? directory;
  await seed.close({ graceMs: 0 });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, record?.name ?? 'x.json'), `{"${MARK}":1}`, { mode: 0o600 });
  const manager = closeAfter(new LifecycleManager({ ledger: { directory } }));
  await manager.start({ id: 'b', name: 'b', command: 'sleep', args: ['30'] });
  expect(manager.status('b').state).toBe('ready');
});
