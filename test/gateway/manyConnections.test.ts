import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { spendCaller } from '../../src/core/time/turns.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { HeldBytes } from '../../src/gateway/http/HeldBytes.js';
import { laterTurn } from '../../src/gateway/http/request/itsTurn.js';
import { closeAfter } from '../support/closeAfter.js';
import { countTurns } from '../support/countTurns.js';
import { FakePool } from '../support/FakePool.js';

/** One small request at a time on each of very many connections. */

const META = 'io.modelcontextprotocol';

const _meta = { [`${META}/protocolVersion`]: '2026-07-28', [`${META}/clientCapabilities`]: {} };
const BODY = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name: 'x', arguments: {}, _meta },
});
const CALL = [
  'POST /servers/one/mcp HTTP/1.1',
  'host: localhost',
  'content-type: application/json',
  'accept: application/json, text/event-stream',
  'mcp-protocol-version: 2026-07-28',
  'mcp-method: tools/call',
  'mcp-name: x',
  `content-length: ${BODY.length}`,
  '',
  BODY,
].join('\r\n');

test('requests that come at one instant begin in turns of the event loop', async () => {
  using turns = countTurns();
  const begun = new Map<number, number>();
  const call = (): object => {
    begun.set(turns.count, (begun.get(turns.count) ?? 0) + 1);
    return { content: [] };
  };
  const gateway = closeAfter(
    new Gateway({ pool: new FakePool({ one: { methods: { 'tools/call': call } } }), port: 0 }),
  );
  const { port } = await gateway.listen();
  const many = await Promise.all(
    Array.from({ length: 400 }, async () => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true });
      await once(socket, 'connect');
      return socket;
    }),
  );
  await expect.poll(() => gateway.stats.connections).toBe(400);
  const answers = many.map((socket) => once(socket, 'data'));
  for (const socket of many) socket.write(CALL);
  await Promise.all(answers);
  for (const socket of many) socket.destroy();
  expect([...begun.values()].reduce((all, each) => all + each)).toBe(400);
  expect(Math.max(...begun.values())).toBeLessThan(200);
});

const requestOf = (remoteAddress: string | undefined, length: number): IncomingMessage =>
  ({ headers: { 'content-length': `${length}` }, socket: { remoteAddress } }) as unknown as IncomingMessage;

test('where the share of a turn is used up addresses take turns: one does not wait behind hundreds of another', async () => {
  const held = new HeldBytes(100_000);
  for (let at = 0; at < 200; at++) spendCaller();
  const order: number[] = [];
  const begins = Array.from({ length: 300 }, async (_, at) => {
    await laterTurn(requestOf('192.0.2.1', 10), held);
    order.push(at);
  });
  begins.push((async () => void order.push((await laterTurn(requestOf('192.0.2.2', 10), held)) ?? -1))());
  await Promise.all(begins);
  expect(order.filter((at) => at >= 0)).toEqual(Array.from({ length: 300 }, (_, at) => at));
  expect(order.indexOf(-1)).toBe(1);
});

test('what has come of the body of one that waits counts; where there is no room for it, it waits no longer', async () => {
  const held = new HeldBytes(100_000);
  const request = requestOf(undefined, 900_000);
  expect(laterTurn(request, held)).toBeUndefined();
  for (let at = 0; at < 200; at++) spendCaller();
  const later = laterTurn(request, held);
  expect(later).toBeInstanceOf(Promise);
  expect(held.stats.heldBytes).toBe(65_536);
  expect(laterTurn(request, held)).toBeUndefined();
  await later;
  expect(held.stats.heldBytes).toBe(0);
});
