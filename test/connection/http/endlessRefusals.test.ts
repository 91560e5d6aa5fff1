import { expect, test } from 'vitest';
import { call, failure, serve } from '../../support/rawCalls.js';
import type { Handler } from '../../support/rawServer.js';
import { said } from '../../support/rawServer.js';

/** A refusal whose body never ends. */
const endless =
  (status: number, headers: Record<string, string> = {}): Handler =>
  ({ res }) =>
    void res.writeHead(status, { 'content-type': 'text/plain', ...headers }).write('no more');

const refused =
  (status: number): Handler =>
  ({ json }) =>
    json({ jsonrpc: '2.0', id: null, error: { code: -32000, message: 'bad' } }, status);

test('a refusal whose body does not end is told by its status, and so is a check of its server', async () => {
  const { connection } = await serve(
    { busy: endless(429, { 'retry-after': '7' }), broken: endless(500) },
    {
      before: (exchange) => {
        if (exchange.message?.method !== 'ping') return false;
        endless(502)(exchange);
        return true;
      },
    },
  );
  const [busy, broken] = await Promise.all([failure(call(connection, 'busy')), failure(call(connection, 'broken'))]);
  expect(busy).toMatchObject({ code: 'ERR_RATE_LIMITED', retryAfterMs: 7_000 });
  expect(broken).toMatchObject({
    code: 'ERR_OUTCOME_UNKNOWN',
    status: 500,
    message: expect.stringContaining('no more'),
  });
  expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
});

test.each([400, 404])(
  'a call that is refused with %i does not wait for a ping that is not answered',
  async (status) => {
    const { server, connection } = await serve(
      { bad: refused(status) },
      { lost: 404, before: ({ message }) => message?.method === 'ping' },
    );
    expect(await failure(call(connection, 'bad'))).toMatchObject({ code: 'ERR_RPC', message: 'bad' });
    expect(server.initialises).toBe(1);
  },
);
