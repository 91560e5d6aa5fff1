import { expect, test } from 'vitest';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { failure } from '../support/rawCalls.js';
import { type Exchange, RawServer } from '../support/rawServer.js';
import { pool, several, upstream, who } from '../support/upstreams.js';

/** Two targets, of which `failover` takes the first. It has forgotten its session, and holds back the next handshake until it is to `recover`. */
async function forgetful() {
  const held: Exchange[] = [];
  let session = 'one';
  const serverInfo = { name: 'a', version: '1' };
  const begin = ({ json, message: { id } }: Exchange): void => {
    const result = { protocolVersion: '2025-11-25', capabilities: {}, serverInfo };
    json({ jsonrpc: '2.0', id, result }, 200, { 'mcp-session-id': session });
  };
  const a = closeAfter(
    await RawServer.listen({
      before: (exchange) => {
        const { headers, message, res } = exchange;
        if (message?.method === 'initialize' && session === 'one') begin(exchange);
        else if (message?.method === 'initialize') held.push(exchange);
        else if (headers['mcp-session-id'] !== session) res.writeHead(404).end();
        else if (message?.id === undefined) res.writeHead(exchange.method === 'GET' ? 405 : 202).end();
        else exchange.answer('a');
        return true;
      },
    }),
  );
  const b = await upstream('b');
  const clock = new FakeClock();
  const of = pool({ clock });
  const targets = [a, b].map(({ url }) => ({ url, transport: 'http' as const }));
  of.addServer(several(targets, { balance: 'failover', era: 'legacy' }));
  expect(await who(of)).toBe('a');
  session = 'two';
  const recover = (): void => held.splice(0).forEach(begin);
  return { of, clock, a, b, held, recover };
}

test('a call that a target refused unread waits a second for its new session, and goes to another one', async () => {
  const { of, clock, a, b, held } = await forgetful();
  const refused = who(of);
  await expect.poll(() => held.length).toBe(1);
  const later = who(of);
  await clock.advance(1_100);
  expect(await Promise.all([refused, later])).toEqual(['b', 'b']);
  // No time passes: the next of its kind does not wait for it again.
  expect(await who(of)).toBe('b');
  expect([a.of('tools/call').length, b.ran()]).toEqual([2, 3]);
  expect(of.stats('app').targets).toMatchObject([{ picked: 1, ejected: false }, { picked: 3 }]);
});

test('where no other one answers, it waits for the first one again', async () => {
  const { of, clock, a, b, held, recover } = await forgetful();
  await b.close();
  const call = who(of);
  await expect.poll(() => held.length).toBe(1);
  await clock.advance(1_100);
  await expect.poll(() => of.stats('app').targets?.[1]?.state).toBe('failed');
  recover();
  expect(await call).toBe('a');
  expect(a.of('tools/call')).toHaveLength(3);
});

test('a call that may wait less than a second is told within that what it waited for', async () => {
  const { of, clock, held } = await forgetful();
  const refused = failure(who(of, { acquireTimeoutMs: 500 }));
  await expect.poll(() => held.length).toBe(1);
  const later = failure(who(of, { acquireTimeoutMs: 500 }));
  await clock.advance(600);
  const told = (message: string) => ({ code: 'ERR_ACQUIRE_TIMEOUT', message: expect.stringContaining(message) });
  expect(await refused).toMatchObject(told('refused unread could not be sent again: nothing free within 500 ms'));
  expect(await later).toMatchObject(told('its session is being replaced: nothing free within 500 ms'));
});
