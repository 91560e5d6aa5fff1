import { once } from 'node:events';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { afterEach, expect, test, vi } from 'vitest';
import { call, serve } from '../../support/rawCalls.js';
import { type Handler, said } from '../../support/rawServer.js';

/** An event stream that is flooded in chunks of HTTP: reading is paused within what undici took of the socket. */

const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
const EVENT = 'data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n';

/** Answers with `flood`, so many times, and then with its result. */
function flooding(flood: string, times: number): Handler {
  return async ({ res, message }) => {
    const socket = res.socket as Socket;
    socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n');
    for (let i = 0; i < times; i++) if (!socket.write(flood)) await once(socket, 'drain');
    const answer = JSON.stringify({ jsonrpc: '2.0', id: message.id, result: said('x') });
    socket.write(`${chunk(`\ndata: ${answer}\n\n`)}0\r\n\r\n`);
  };
}

/** Most that a socket held, handed out in one read, and kept out in one turn of the event loop; of those made from here on that hold so much. */
function watched(fromBytes: number): { heldBytes: number; readBytes: number; turnBytes: number } {
  const most = { heldBytes: 0, readBytes: 0, turnBytes: 0 };
  const { read, unshift } = Readable.prototype;
  let turnBytes = 0;
  vi.spyOn(Readable.prototype, 'read').mockImplementation(function (this: Readable, bytes?: number) {
    const held = this.readableLength;
    const got = read.call(this, bytes) as Buffer | null;
    if (held < fromBytes || got === null) return got;
    if (turnBytes === 0) setImmediate(next);
    turnBytes += got.length;
    most.heldBytes = Math.max(most.heldBytes, held);
    most.readBytes = Math.max(most.readBytes, got.length);
    return got;
  });
  vi.spyOn(Readable.prototype, 'unshift').mockImplementation(function (this: Readable, back: Buffer, ...more) {
    turnBytes -= back.length;
    return unshift.call(this, back, ...more);
  });
  const next = (): void => {
    most.turnBytes = Math.max(most.turnBytes, turnBytes);
    turnBytes = 0;
  };
  return most;
}

afterEach(() => void vi.restoreAllMocks());

test('what waits in the socket of a stream that is read in turns stays small, and little of it is read at a time', async () => {
  const most = watched(16_384);
  const { connection } = await serve({ flood: flooding(chunk(EVENT.repeat(500)), 400) });
  expect(await call(connection, 'flood')).toEqual(said('x'));
  expect(most.heldBytes).toBeGreaterThan(65_536);
  expect(most.heldBytes).toBeLessThanOrEqual(4 * 65_536);
  expect(most.readBytes).toBeLessThanOrEqual(65_536);
});

test('of a stream in chunks of one byte no more are read in a turn than small messages are', async () => {
  const most = watched(16_384);
  const { connection } = await serve({ flood: flooding(chunk(':').repeat(10_000), 20) });
  expect(await call(connection, 'flood')).toEqual(said('x'));
  // Six bytes each; a turn's budget may begin anew within what is counted here as one.
  expect(most.turnBytes).toBeGreaterThan(0);
  expect(most.turnBytes).toBeLessThan(3 * 320 * 6);
});
