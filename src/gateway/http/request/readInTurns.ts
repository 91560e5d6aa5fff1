import type { ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { waitsItsTurn } from '../../../core/close/endWithSocket.js';
import { TurnReader } from '../../../core/time/TurnReader.js';
import { isHeld } from './itsTurn.js';

/** So much of what was read is parsed between two looks at the clock: in chunks of one byte, some 700. */
const SLICE_BYTES = 4 * 1_024;
/** What Node may parse in one turn of requests that cost more than their length, in ms. */
const LONG_TURN_MS = 8;
/** Names and values of a head: of some 1,900 in 16 KiB each costs more than what it is for. */
const MANY_NAMES = 2 * 100;
/** After a longer one all new connections are read in turns for so long, in ms. */
const ALARM_MS = 60_000;

/** What is short goes first, however long it took the others. */
const expectMs = (bytes: number): number => bytes / SLICE_BYTES;

const { pause, resume } = Socket.prototype;
/** Connections to the gateway's own servers from which Node parses all of a piece, of 64 KiB, in the turn in which it comes. */
const readByNode = new Set<Socket>();
/** Since when this turn has had requests that cost more than their length. */
let sinceMs: number | undefined;
let alarmUntilMs = 0;

const overTurn = (): void => {
  sinceMs = undefined;
};

/** A connection to a server of the gateway's own: nothing but HTTP, and nothing of a host's, comes on it. */
export function watchSocket(socket: Socket): void {
  readByNode.add(socket);
  if (performance.now() < alarmUntilMs) readInTurns(socket);
}

export function forgetSocket(socket: Socket): void {
  readByNode.delete(socket);
}

/**
 * From the first body in chunks on a connection is read in turns of the event loop, and from the first request behind another: each chunk costs a
 * microsecond and more, each request some ten, however small, and Node parses all of a piece of 64 KiB, and 32 of those, in one turn. Where one has taken
 * long, by several, all connections are; heads of many names count to that, too. What goes by its length, one by one, costs a look at a header.
 */
export function watchRequest(response: ServerResponse): void {
  const { headers, rawHeaders, socket } = response.req;
  const costly = rawHeaders.length > MANY_NAMES || headers['transfer-encoding'] !== undefined || waitsItsTurn(response);
  if (!costly || !readByNode.has(socket)) return;
  readInTurns(socket);
  const nowMs = performance.now();
  if (sinceMs === undefined) {
    sinceMs = nowMs;
    setImmediate(overTurn);
  } else if (nowMs - sinceMs >= LONG_TURN_MS) {
    alarmUntilMs = nowMs + ALARM_MS;
    for (const each of readByNode) readInTurns(each);
  }
}

function readInTurns(socket: Socket): void {
  readByNode.delete(socket);
  // Not while Node's parser runs.
  process.nextTick(() => {
    const parsers = socket.listeners('data') as ((bytes: Buffer) => void)[];
    if (socket.destroyed || parsers.length !== 1) return;
    const [parse] = parsers;
    const push = (bytes: Buffer): number => {
      const slice = bytes.length > SLICE_BYTES ? bytes.subarray(0, SLICE_BYTES) : bytes;
      if (!socket.destroyed) parse?.call(socket, slice);
      return slice.length;
    };
    socket.removeAllListeners('data');
    // The reader's own pauses, between turns, are not those of who takes no more.
    const stream = {
      on: (event: 'data', listener: (chunk: Buffer) => void) => socket.on(event, listener),
      pause: () => pause.call(socket),
      resume: () => resume.call(socket),
    };
    const reader = new TurnReader(stream, { push, takeCount: () => 0, expectMs }, (error) =>
      socket.destroy(error as Error),
    );
    socket.pause = () => {
      reader.hold();
      return socket;
    };
    socket.resume = () => {
      if (!isHeld(socket)) reader.goOn();
      return socket;
    };
    if (socket.isPaused()) reader.hold();
    // What came while Node's parser read by itself was never told to the stream: it still waits for that, and would not begin to read again.
    socket.push('');
    socket.once('close', () => reader.close());
  });
}
