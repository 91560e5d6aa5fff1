import { expect, test } from 'vitest';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import type { FakeServerOptions } from '../../../src/testing/fake/FakeServerOptions.js';
import type { FakeHttpOptions } from '../../../src/testing/fake/http/FakeHttpOptions.js';
import { closeAfter } from '../../support/closeAfter.js';
import { postTo, type RawResponse, responseIn } from '../../support/rawHttp.js';

/** A fake server over HTTP in the hands of a test: its own answers, its sessions, what it announces. */

const listening = (options: FakeServerOptions = {}, more: FakeHttpOptions = {}) =>
  closeAfter(fakeServer(options)).listen(more);

async function post(port: number, message: object, headers: readonly string[] = []): Promise<RawResponse> {
  const raw = await postTo(port, message, headers).until((text) => responseIn(text) !== undefined);
  return responseIn(raw) as RawResponse;
}

const INITIALIZE = {
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 't', version: '1' } },
};
const PING = { id: 1, method: 'ping' };

test('a request that is intercepted is answered by the test alone, any other by the server', async () => {
  const seen: (string | undefined)[] = [];
  const { port } = await listening(
    {},
    {
      intercept: async ({ res, message }) => {
        seen.push(message?.method);
        if (message?.method !== 'ping') return false;
        res.writeHead(418).end('no');
        return true;
      },
    },
  );
  expect((await post(port, INITIALIZE)).status).toBe(200);
  expect((await post(port, PING)).status).toBe(418);
  expect(seen).toEqual(['initialize', 'ping']);
});

test('an interception that throws cuts its own connection, and the server goes on', async () => {
  const { port } = await listening(
    {},
    {
      intercept: ({ message }) => {
        if (message?.method === 'ping') throw new Error('on purpose');
        return undefined;
      },
    },
  );
  const socket = postTo(port, PING);
  await socket.over();
  expect(socket.text).toBe('');
  expect((await post(port, INITIALIZE)).status).toBe(200);
});

test('sessions can be looked at and lost, one or all', async () => {
  const http = await listening();
  const ids: string[] = [];
  for (let each = 0; each < 3; each++) {
    ids.push(/mcp-session-id: (\S+)/i.exec((await post(http.port, INITIALIZE)).headers)?.[1] ?? '');
  }
  const statuses = async () => {
    const answers = await Promise.all(ids.map((id) => post(http.port, PING, [`mcp-session-id: ${id}`])));
    return answers.map(({ status }) => status);
  };
  expect([[...http.sessions], await statuses()]).toEqual([ids, [200, 200, 200]]);
  http.forget(ids[1]);
  expect(await statuses()).toEqual([200, 404, 200]);
  http.forget();
  expect([http.sessions.size, await statuses()]).toEqual([0, [404, 404, 404]]);
});

test('it announces the capabilities it is given', async () => {
  const { port } = await listening({ capabilities: { tools: {} } });
  const { result } = JSON.parse((await post(port, INITIALIZE)).body);
  expect(result.capabilities).toEqual({ tools: {} });
  expect(() => fakeServer({ capabilities: null as never })).toThrow(/capabilities/);
});
