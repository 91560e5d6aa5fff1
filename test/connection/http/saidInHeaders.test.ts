import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { ProtocolError } from '../../../src/core/errors.js';
import { isServerFailure } from '../../../src/pool/server/calls/callPolicy.js';
import { UnifiedPool } from '../../../src/pool/UnifiedPool.js';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../../support/closeAfter.js';

test('what no header can hold, or no server takes, is refused as the caller’s mistake: the server is not held to fail', async () => {
  const { url } = await closeAfter(fakeServer({ era: 'modern' })).listen();
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer({ name: 's', transport: 'http', url, era: 'modern' });
  const long = 'n'.repeat(200_000);
  const refused = async (method: string, params: object): Promise<void> => {
    const error = await pool.request('s', method, { ...params }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: 'ERR_OPTION' });
  };
  for (let i = 0; i < 10; i++) {
    await refused('me\r\nX-Evil: 1Ā', {});
    await refused(long, {});
    await refused('tools/call', { name: long, arguments: {} });
    await refused('resources/read', { uri: `x:${long}` });
  }
  expect(await pool.callTool('s', 'echo', { text: 'still here' })).toMatchObject({ content: expect.any(Array) });
});

test('a status that speaks of the request is the caller’s mistake, too: neither breaker nor target counts it', async () => {
  const { url } = await closeAfter(fakeServer({ era: 'modern' })).listen();
  const statuses = [400, 413, 414, 415, 422, 431];
  const front = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', async () => {
      const status = Number(/"refuse":(\d+)/.exec(body)?.[1]);
      if (status > 0) return void response.writeHead(status, { 'content-type': 'text/html' }).end('<p>no');
      const headers = Object.entries(request.headers).filter(([name]) => /^(mcp-|accept$|content-type)/.test(name));
      const got = await fetch(url, { method: 'POST', headers: headers as [string, string][], body });
      response.writeHead(got.status, { 'content-type': got.headers.get('content-type') ?? '' }).end(await got.text());
    });
  }).listen(0, '127.0.0.1');
  closeAfter({ close: async () => void front.close().closeAllConnections() });
  await expect.poll(() => front.listening).toBe(true);
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  const own = `http://127.0.0.1:${(front.address() as AddressInfo).port}/mcp`;
  pool.addServer({ name: 's', transport: 'http', url: own, era: 'modern' });
  for (let i = 0; i < 12; i++) {
    const status = statuses[i % statuses.length] as number;
    const error = await pool.request('s', 'tools/call', { name: 'echo', arguments: { refuse: status } }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: 'ERR_PROTOCOL', status });
    expect([isServerFailure(error), isServerFailure(new ProtocolError('s', 'it answered with no JSON'))]).toEqual([
      false,
      true,
    ]);
  }
  expect(await pool.callTool('s', 'echo', { text: 'still here' })).toMatchObject({ content: expect.any(Array) });
});
