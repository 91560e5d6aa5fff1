import { expect, test } from 'vitest';
import { OptionError, OutcomeUnknownError } from '../../src/core/errors.js';
import { SSEPool, type SSEPoolOptions } from '../../src/pool/SSEPool.js';
import type { UrlServerConfig } from '../../src/registry/config/ServerConfig.js';
import { closeAfter } from '../support/closeAfter.js';
import { echoFor, tool } from '../support/httpPool.js';
import { everythingSse, sdkServer } from '../support/httpServers.js';
import { failure } from '../support/rawCalls.js';
import { RawSse, type RawSseOptions } from '../support/rawSse.js';
import { said } from '../support/stdioPool.js';

const ssePool = (options: SSEPoolOptions = {}): SSEPool => closeAfter(new SSEPool(options));

async function rawPool(
  server: RawSseOptions = {},
  options: SSEPoolOptions = {},
  settings: Partial<UrlServerConfig> = {},
): Promise<{ readonly server: RawSse; readonly pool: SSEPool }> {
  const raw = await RawSse.listen(server);
  const pool = ssePool(options);
  pool.addServer({ name: 'raw', transport: 'sse', url: raw.url, ...settings });
  return { server: raw, pool };
}

const hang = ({ message }: { readonly message: { readonly params?: { readonly name?: string } } }): boolean =>
  message.params?.name === 'hang';

test('a hundred calls of one principal go over one stream, and each gets its own answer', async () => {
  const { server, pool } = await rawPool();
  const texts = Array.from({ length: 100 }, (_, i) => `t${i}`);
  expect(await Promise.all(texts.map((text) => tool(pool, 'echo', { text })))).toEqual(texts);
  expect(server.streams).toHaveLength(1);
  await echoFor(pool, { principal: 'another' });
  expect(server.streams).toHaveLength(2);
});

test('a dropped stream fails the calls in flight, and the next one finds a new, initialised connection', async () => {
  const { server, pool } = await rawPool({
    before: (post) => {
      if (hang(post)) post.accept();
      return hang(post);
    },
  });
  await tool(pool, 'echo', { text: 'before' });
  const hung = [1, 2, 3].map(() => failure(tool(pool, 'hang')));
  await expect.poll(() => server.posts.filter(hang).length).toBe(3);
  server.streams[0]?.destroy();
  for (const error of await Promise.all(hung)) expect(error).toBeInstanceOf(OutcomeUnknownError);
  const texts = ['a', 'b', 'c'];
  expect(await Promise.all(texts.map((text) => tool(pool, 'echo', { text })))).toEqual(texts);
  const methods = server.posts.map(({ message }) => message.method);
  const again = methods.slice(methods.lastIndexOf('initialize'));
  expect(again.slice(0, 2)).toEqual(['initialize', 'notifications/initialized']);
  expect(methods.filter((method) => method === 'initialize')).toHaveLength(2);
  expect(pool.stats('raw')).toMatchObject({ restarts: 1, connections: 1, errors: { ERR_OUTCOME_UNKNOWN: 3 } });
});

test('a list that was in flight when the stream dropped is asked for again; a tool is not', async () => {
  let dropped = false;
  const { server, pool } = await rawPool({
    before: (post) => {
      if (post.message.method !== 'tools/list') return false;
      post.accept();
      if (dropped) post.result({ tools: [] });
      else server.streams[0]?.destroy();
      dropped = true;
      return true;
    },
  });
  expect(await pool.listAll('raw', 'tools')).toMatchObject({ items: [], pages: 1 });
  expect(server.streams).toHaveLength(2);
});

test('on a shared server nobody may have capabilities; a borrowed connection answers what the server asks', async () => {
  const { server, pool } = await rawPool({
    before: (post) => {
      const { message } = post;
      if (message.params?.name === 'ask') {
        post.accept();
        post.event({ jsonrpc: '2.0', id: 'q', method: 'roots/list' });
        return true;
      }
      if (message.id !== 'q') return false;
      post.accept();
      const asked = server.posts.find((each) => each.message.params?.name === 'ask');
      const result = { content: [{ type: 'text', text: JSON.stringify(message.result) }] };
      post.event({ jsonrpc: '2.0', id: asked?.message.id, result });
      return true;
    },
  });
  const caller = { capabilities: { roots: {} } };
  const refusal = await failure(echoFor(pool, caller));
  expect(refusal).toBeInstanceOf(OptionError);
  expect(refusal).toMatchObject({ message: expect.stringMatching(/'leased' or 'bound'/) });
  const config = { name: 'own', transport: 'sse', url: server.url, clientCapabilities: caller.capabilities } as const;
  expect(() => pool.addServer(config)).toThrow(OptionError);
  pool.addServer({ ...config, sharing: 'leased' });
  const asked = pool.request('own', 'tools/call', { name: 'ask' }, { onRequest: async () => ({ roots: [] }) });
  expect(await said(asked)).toBe('{"roots":[]}');
});

test('an endpoint on another origin is refused, and nothing is sent there', async () => {
  const other = await RawSse.listen();
  const { pool } = await rawPool({ endpoint: new URL('/message', other.url).href });
  expect(await failure(tool(pool, 'echo'))).toMatchObject({
    code: 'ERR_START_FAILED',
    cause: { code: 'ERR_PROTOCOL', message: expect.stringContaining('not on its own origin') },
  });
  expect(other.posts).toHaveLength(0);
  expect(pool.state('raw')).toBe('failed');
});

test('a stream that drops at once again and again is not opened in a loop', async () => {
  let opened = 0;
  const { pool } = await rawPool(
    {
      onGet: (_, res) => {
        opened++;
        res.destroy();
        return true;
      },
    },
    { backoff: { initialMs: 60_000, maxMs: 60_000 } },
  );
  const failures = await Promise.all([1, 2, 3].map(() => failure(tool(pool, 'echo'))));
  for (const error of failures) expect(error).toMatchObject({ code: 'ERR_START_FAILED' });
  expect(await failure(tool(pool, 'echo'))).toMatchObject({ code: 'ERR_BACKING_OFF' });
  expect(opened).toBe(1);
});

test('a server of the SDK’s own old transport lists, answers, and comes back after it was killed', async () => {
  const first = await sdkServer('sse');
  const pool = ssePool({ backoff: { initialMs: 1, maxMs: 20 } });
  await pool.startServer({ name: 'old', transport: 'sse', url: first.url });
  const echo = (text: string): Promise<string> =>
    said(pool.request('old', 'tools/call', { name: 'echo', arguments: { text } }));
  expect((await pool.listAll('old', 'tools')).items.map(({ name }) => name)).toContain('slow');
  const texts = Array.from({ length: 50 }, (_, i) => `t${i}`);
  expect(await Promise.all(texts.map(echo))).toEqual(texts);
  const slow = failure(pool.request('old', 'tools/call', { name: 'slow', arguments: { ms: 60_000 } }));
  await expect.poll(() => pool.stats('old').inFlight).toBe(1);
  const gone = new Promise((resolve) => pool.on('exited', resolve));
  await first.close();
  expect(await slow).toBeInstanceOf(OutcomeUnknownError);
  expect(await gone).toMatchObject({ server: 'old', expected: false });
  await sdkServer('sse', first.port);
  await expect.poll(() => echo('back').catch((error: Error) => error.message)).toBe('back');
});

test('server-everything over its old transport answers two hundred calls at once and ends with the pool', async () => {
  const { url } = await everythingSse();
  const pool = ssePool();
  await pool.startServer({ name: 'everything', transport: 'sse', url });
  const texts = Array.from({ length: 200 }, (_, i) => `t${i}`);
  const echo = (message: string): Promise<string> =>
    said(pool.request('everything', 'tools/call', { name: 'echo', arguments: { message } }));
  expect(await Promise.all(texts.map(echo))).toEqual(texts.map((text) => `Echo: ${text}`));
  await pool.close();
  expect(pool.state('everything')).toBe('stopped');
});

test.each([404, 410, 400] as const)(
  'a session that is forgotten behind a live stream (%i) is given up, and what it refused goes out on a new one',
  async (status) => {
    let forgotten = false;
    const { server, pool } = await rawPool({
      before: ({ res }) => {
        if (forgotten && server.streams.length === 1) res.writeHead(status).end('Could not find session ID');
        return forgotten && server.streams.length === 1;
      },
    });
    await tool(pool, 'echo', { text: 'before' });
    forgotten = true;
    expect(await tool(pool, 'echo', { text: 'after' })).toBe('after');
    expect(server.streams).toHaveLength(2);
  },
);

test('a 404 of one message alone is its own: the connection stays', async () => {
  const { server, pool } = await rawPool({
    before: (post) => {
      if (hang(post)) post.res.writeHead(404).end('nothing here');
      return hang(post);
    },
  });
  expect(await failure(tool(pool, 'hang'))).toMatchObject({ code: 'ERR_PROTOCOL', status: 404 });
  expect(await tool(pool, 'echo', { text: 'x' })).toBe('x');
  expect(server.streams).toHaveLength(1);
});
