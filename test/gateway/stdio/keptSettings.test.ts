import { expect, test } from 'vitest';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { answerTo, bridgeTo, gateway, request } from '../../support/bridgeTo.js';

const HANDSHAKE = { protocolVersion: '2025-06-18', capabilities: {} };
const NOT_YET = { code: -32_602, message: 'unknown resource' };

/** A gateway that forgets its first session with the first call, and whose second one has no resources at first. */
function restarted(refusals: number) {
  const given: unknown[] = [];
  const asked = { count: 0 };
  let opened = 0;
  const server = gateway((res, { id, method, params }, req) => {
    const json = (text: string, more = {}): unknown =>
      res.writeHead(200, { 'content-type': 'application/json', ...more }).end(text);
    const isFirst = req.headers['mcp-session-id'] === 's1';
    if (method === 'initialize') return json(answerTo(id, HANDSHAKE), { 'mcp-session-id': `s${++opened}` });
    if (req.method === 'GET') return res.writeHead(405).end();
    if (id === undefined) return res.writeHead(202).end();
    if (isFirst && method === 'tools/list') return res.writeHead(404).end();
    if (!isFirst && method === 'resources/subscribe' && ++asked.count <= refusals)
      return json(JSON.stringify({ jsonrpc: '2.0', id, error: NOT_YET }));
    if (!isFirst && method !== 'tools/list') given.push(params?.['uri'] ?? params?.['level']);
    return json(answerTo(id));
  });
  return { server, given, asked };
}

test('what a session was given is asked for in the next one until that gives it, and only what is still wanted', async () => {
  const clock = new FakeClock();
  const { server, given, asked } = restarted(6);
  const { send, answered, end } = await bridgeTo(server, { clock });
  send(request(1, 'initialize'));
  await answered(1);
  for (const [i, uri] of ['a', 'b', 'c'].entries()) send(request(2 + i, 'resources/subscribe', { uri }));
  await answered(4);
  send(request(5, 'logging/setLevel', { level: 'info' }));
  await answered(5);
  send(request(6));
  await answered(6);
  expect([given, asked.count]).toEqual([['info'], 3]);
  send(request(7, 'resources/unsubscribe', { uri: 'b' }));
  await answered(7);
  given.length = 0;
  await clock.advance(500);
  await expect.poll(() => asked.count).toBe(5);
  await expect
    .poll(async () => {
      await clock.advance(1_000);
      return given.toSorted();
    })
    .toEqual(['a', 'c']);
  await clock.advance(300_000);
  expect(asked.count).toBe(8);
  await end();
});
