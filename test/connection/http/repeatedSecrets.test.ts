import { expect, test } from 'vitest';
import { sentSecrets, withoutSent } from '../../../src/core/errors/sentSecrets.js';
import { SSEPool } from '../../../src/pool/SSEPool.js';
import { closeAfter } from '../../support/closeAfter.js';
import { httpPool, rawPool, tool } from '../../support/httpPool.js';
import { failure } from '../../support/rawCalls.js';
import type { Handler } from '../../support/rawServer.js';
import { RawServer } from '../../support/rawServer.js';
import { RawSse } from '../../support/rawSse.js';

const SECRETS = ['header-secret', 'cookie-secret', 'query secret/1', 'query%20secret%2f1', 'fresh-token'];

/** What a server says of a request that it refuses: all that came. */
const repeats =
  (status: number, type: string, wrap: (text: string) => string): Handler =>
  ({ req, res }) => {
    const { authorization, cookie, 'x-region': region } = req.headers;
    const query = new URL(req.url ?? '', 'http://h').searchParams.get('api_key');
    res.writeHead(status, { 'content-type': type });
    res.end(wrap(`no: ${authorization} ${cookie} ${region} ${req.url} ${query}`));
  };
const error = (message: string): string =>
  JSON.stringify({ jsonrpc: '2.0', id: null, error: { code: -32_000, message } });

test('what a server repeats of headers, credentials and the query in an error of HTTP reaches no caller', async () => {
  const tools = {
    broken: repeats(500, 'text/plain', String),
    page: repeats(418, 'text/html', (text) => `<p>${text}</p>`),
    rpc: repeats(400, 'application/json', error),
    text: repeats(200, 'application/json', String),
  };
  const { url } = await RawServer.listen({ tools });
  const credentials = async () => ({ headers: { authorization: 'Bearer fresh-token' } });
  const pool = httpPool({ credentials });
  const headers = { cookie: 'a=cookie-secret; b=1', 'x-region': 'eu-1', 'x-api-key': 'header-secret' };
  pool.addServer({ name: 'raw', transport: 'http', url: `${url}?api_key=query%20secret%2f1`, era: 'legacy', headers });
  for (const name of Object.keys(tools)) {
    const { message } = (await failure(tool(pool, name))) as Error;
    expect(message).toContain('no: ***');
    // A value that short says nothing.
    expect(message).toContain('eu-1');
    for (const each of SECRETS) expect(message).not.toContain(each);
  }
});

test('what it repeats of a key in the path, as it came or decoded, and of its session id reaches no caller either', async () => {
  const [KEY, DECODED, SESSION] = ['key%2F0123456789', 'key/0123456789', '7d0c3d5e-session-of-all'];
  const tools: Readonly<Record<string, Handler>> = {
    refused: ({ req, res }) => void res.writeHead(404, { 'content-type': 'text/html' }).end(`Cannot POST ${req.url}`),
    broken: ({ req, res }) => void res.writeHead(500).end(`${DECODED}: ${req.headers['mcp-session-id']} is busy`),
    text: ({ req, res }) => void res.writeHead(200, { 'content-type': 'application/json' }).end(`no: ${req.url}`),
    moved: ({ req, res }) => void res.writeHead(308, { location: `http://127.0.0.2:9${req.url}/new` }).end(),
  };
  const { url } = await RawServer.listen({
    before: ({ message, method, json, res, ...rest }) => {
      const { id, params } = message ?? {};
      const result = {
        protocolVersion: '2025-06-18',
        capabilities: { tools: {} },
        serverInfo: { name: 's', version: '1' },
      };
      if (message?.method === 'initialize') json({ jsonrpc: '2.0', id, result }, 200, { 'mcp-session-id': SESSION });
      else if (message?.method === 'tools/call') void tools[params.name]?.({ message, method, json, res, ...rest });
      else if (message?.method === 'ping') json({ jsonrpc: '2.0', id, result: {} });
      else res.writeHead(method === 'POST' ? 202 : 405).end();
      return true;
    },
  });
  const pool = httpPool();
  pool.addServer({ name: 'raw', transport: 'http', url: url.replace('/mcp', `/s/${KEY}/mcp`), era: 'legacy' });
  const said = await Promise.all(
    Object.keys(tools).map(async (name) => ((await failure(tool(pool, name))) as Error).message),
  );
  expect(said).toEqual([
    expect.stringContaining('Cannot POST /s/***/mcp'),
    expect.stringContaining('***: *** is busy'),
    expect.stringContaining('no: /s/***/mcp'),
    expect.stringContaining('not followed: "http://127.0.0.2:9/s/***/mcp/new"'),
  ]);
});

test('what it repeats of the place that its event stream named reaches no caller', async () => {
  const [PART, SESSION] = ['part-of-0123', 'session-of-all'];
  const { url } = await RawSse.listen({
    endpoint: `/message/${PART}?sessionId=${SESSION}`,
    before: ({ message, res, accept, result }) => {
      if (message?.method === 'tools/call') res.writeHead(404).end(`Cannot POST /${PART}: no ${SESSION}`);
      else accept();
      const serverInfo = { name: 's', version: '1' };
      if (message?.method === 'initialize')
        result({ protocolVersion: '2024-11-05', capabilities: { tools: {} }, serverInfo });
      else if (message?.method === 'ping') result({});
      return true;
    },
  });
  const pool = closeAfter(new SSEPool());
  pool.addServer({ name: 'raw', transport: 'sse', url });
  expect(((await failure(tool(pool, 'echo'))) as Error).message).toContain('Cannot POST /***: no ***');
});

test.each([
  ['short', 1, 'ERR_RPC'],
  ['long', 100, 'ERR_PROTOCOL'],
])(
  'of what a server says at a %s path of its own choice so much is looked through as takes no time',
  async (_, times, code) => {
    const place = `/${'0123456789/'.repeat(times)}moved`;
    const { url } = await RawServer.listen({
      before: ({ message, req, res, json }) => {
        const { id, method } = message ?? {};
        const error = { code: -32_602, message: `no: ${req.url} ${'x'.repeat(8_192)}` };
        if (method !== 'tools/call') return undefined;
        if (req.url === place) json({ jsonrpc: '2.0', id, error }, 422);
        else res.writeHead(308, { location: place }).end();
        return true;
      },
    });
    const pool = httpPool();
    pool.addServer({ name: 'raw', transport: 'http', url, era: 'legacy' });
    const told = (await failure(tool(pool, 'x'))) as Error;
    expect(told).toMatchObject({ code, message: expect.stringContaining('no: /***/') });
    expect(told.message).not.toContain('0123456789');
  },
);

test('a secret is found as it is, in a URL, in a form, in JSON, as a password and beside others', () => {
  const secret = 'p "ä/+\ud83d\ude00 w';
  const basic = `Basic ${Buffer.from(`user:${secret}`).toString('base64')}`;
  const secrets = sentSecrets(['/short/?short=1'], ['authorization', basic, 'x', 'short']);
  for (const form of [
    secret,
    encodeURIComponent(secret),
    JSON.stringify(secret),
    basic,
    `${new URLSearchParams({ secret })}`,
  ]) {
    const said = withoutSent(Buffer.from(`ä ${form} short`), secrets).toString();
    expect(said).toMatch(/^ä .*\*\*\*"? short$/);
    for (const each of secrets) expect(said).not.toContain(each);
  }
});

test('a URL of https whose port speaks plain http is told in words', async () => {
  const { server } = await rawPool();
  const pool = httpPool();
  pool.addServer({ name: 'raw', transport: 'http', url: server.url.replace('http:', 'https:') });
  const { message } = (await failure(tool(pool, 'echo'))) as Error;
  expect(message).toContain('TLS failed, wrong version number: its port speaks plain http');
  expect(message).not.toContain('SSL routines');
});
