import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { call, failure, serve } from '../../support/rawCalls.js';
import { type Handler, said } from '../../support/rawServer.js';

/**
 * More small events than are read in a turn, then the end of the connection: it comes while the reading is paused. undici
 * would throw in the socket's own listener, where nothing catches it.
 */

const uncaught: unknown[] = [];
const note = (error: unknown): void => void uncaught.push(error);
beforeAll(() => void process.on('uncaughtException', note));
afterAll(() => void process.off('uncaughtException', note));
afterEach(() => expect(uncaught.splice(0)).toEqual([]));

const EVENTS = 'data: 1\n\n'.repeat(20_000);

type Framing = 'eof' | 'length' | 'chunked';

function flood(framing: Framing, answered: boolean, end: (socket: Socket) => void): Handler {
  return async ({ res, message }) => {
    const answer = `data: ${JSON.stringify({ jsonrpc: '2.0', id: message.id, result: said('x') })}\n\n`;
    const body = EVENTS + (answered ? answer : '');
    const head = {
      eof: '',
      length: `content-length: ${body.length}\r\n`,
      chunked: 'transfer-encoding: chunked\r\n',
    }[framing];
    const socket = res.socket as Socket;
    socket.write(`HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n${head}\r\n`);
    const sent = framing === 'chunked' ? `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n` : body;
    if (!socket.write(sent)) await once(socket, 'drain');
    end(socket);
  };
}

test.each(['eof', 'length', 'chunked'] as const)(
  'a stream that ends while it is read in turns is read to its end (%s)',
  async (framing) => {
    const { connection } = await serve({ flood: flood(framing, true, (socket) => socket.end()) });
    for (let i = 0; i < 5; i++) expect(await call(connection, 'flood')).toEqual(said('x'));
    expect(await call(connection, 'echo', { text: 'still here' })).toEqual(said('still here'));
  },
);

test.each(['eof', 'length', 'chunked'] as const)(
  'one that ends or is reset without its answer fails the call, and nothing else (%s)',
  async (framing) => {
    const { connection } = await serve({
      ends: flood(framing, false, (socket) => socket.end()),
      reset: flood(framing, false, (socket) => socket.resetAndDestroy()),
    });
    for (const name of ['ends', 'reset', 'ends', 'reset'])
      expect(await failure(call(connection, name))).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' });
    expect(await call(connection, 'echo', { text: 'still here' })).toEqual(said('still here'));
  },
);
