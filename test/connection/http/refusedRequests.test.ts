import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { isVote, OutcomeUnknownError, ProtocolError } from '../../../src/core/errors.js';
import { UnifiedPool } from '../../../src/pool/UnifiedPool.js';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../../support/closeAfter.js';

type Refuse = (response: ServerResponse, request: IncomingMessage) => void;

/** A pool's server behind a front that treats requests with "bad" in them, or `all.refused`, as it likes. */
async function behindFront(era: 'modern' | 'legacy', refuse: Refuse) {
  const { url } = await closeAfter(fakeServer({ era })).listen();
  const all = { refused: false };
  const front = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    if (all.refused || body.includes('bad')) return void refuse(response, request);
    const headers = Object.entries(request.headers).filter(([name]) => /^(mcp-|accept$|content-type)/.test(name));
    const { method = 'POST' } = request;
    const got = await fetch(url, {
      method,
      headers: headers as [string, string][],
      ...(method === 'POST' && { body }),
    });
    const session = got.headers.get('mcp-session-id');
    if (session !== null) response.setHeader('mcp-session-id', session);
    response.writeHead(got.status, { 'content-type': got.headers.get('content-type') ?? 'text/plain' });
    response.end(await got.text());
  }).listen(0, '127.0.0.1');
  closeAfter({ close: async () => void front.close().closeAllConnections() });
  await expect.poll(() => front.listening).toBe(true);
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  const own = `http://127.0.0.1:${(front.address() as AddressInfo).port}/mcp`;
  pool.addServer({ name: 's', transport: 'http', url: own, era });
  const call = (text: string, principal = 'alice'): Promise<unknown> =>
    pool.callTool('s', 'echo', { text }, { caller: { principal } });
  const failed = (text: string): Promise<unknown> =>
    call(text, 'eve').then(
      () => expect.fail(),
      (error: unknown) => error,
    );
  return { all, call, failed };
}

const ANSWERED = { content: expect.any(Array) };
const page =
  (status: number): Refuse =>
  (response) =>
    response.writeHead(status, { 'content-type': 'text/html', location: '/blocked' }).end('<h1>blocked</h1>');

test.each([
  [404, 'modern'],
  [200, 'modern'],
  [405, 'legacy'],
  [302, 'legacy'],
] as const)(
  'a page of status %i (%s) for one caller’s requests is one caller’s vote where others are answered',
  async (status, era) => {
    const { all, call, failed } = await behindFront(era, page(status));
    expect(await call('good')).toMatchObject(ANSWERED);
    for (let i = 0; i < 10; i++) {
      const error = await failed('bad');
      expect(error).toMatchObject({ code: 'ERR_PROTOCOL', status });
      expect(isVote(error)).toBe(true);
    }
    expect(await call('good')).toMatchObject(ANSWERED);
    // The same page for everything is a server that is none.
    all.refused = true;
    const error = await failed('good');
    expect(error).toBeInstanceOf(ProtocolError);
    expect(isVote(error)).toBe(false);
  },
);

const exception: Refuse = (response) => {
  const error = { jsonrpc: '2.0', id: 'server-error', error: { code: -32_603, message: 'RecursionError' } };
  response.writeHead(500, { 'content-type': 'application/json' }).end(JSON.stringify(error));
};

test.each([
  ['an error of JSON-RPC', exception],
  ['a page', page(500)],
])('a 500, %s, for one caller’s arguments is one caller’s vote where others are answered', async (_, refuse) => {
  const { all, call, failed } = await behindFront('legacy', refuse);
  expect(await call('good')).toMatchObject(ANSWERED);
  for (let i = 0; i < 10; i++) {
    const error = await failed('bad');
    expect(error).toBeInstanceOf(OutcomeUnknownError);
    expect(isVote(error)).toBe(true);
  }
  all.refused = true;
  expect(isVote(await failed('good'))).toBe(false);
});

test('a connection that is reset at a large request is one caller’s vote where others are answered', async () => {
  const { all, call, failed } = await behindFront('legacy', (_, request) => request.socket.destroy());
  const large = 'y'.repeat(100_000);
  expect(await call(large)).toMatchObject(ANSWERED);
  for (let i = 0; i < 10; i++) {
    const error = await failed(`${large} bad`);
    expect(error).toBeInstanceOf(OutcomeUnknownError);
    expect(isVote(error)).toBe(true);
  }
  expect(await call('good')).toMatchObject(ANSWERED);
  // Where all are reset, it is the server.
  all.refused = true;
  expect(isVote(await failed(large))).toBe(false);
});
