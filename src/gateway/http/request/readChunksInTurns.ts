import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { TurnReader } from '../../../core/time/TurnReader.js';

/** So much of what was read is parsed between two looks at the clock: in chunks of one byte, some 700. */
const SLICE_BYTES = 4 * 1_024;

const { pause, resume } = Socket.prototype;
const read = new WeakSet<Socket>();

/**
 * From the first chunked body on a connection is read in turns of the event loop: each chunk costs a microsecond and more, however small, and
 * Node parses all of a piece of 64 KiB, and 32 of those, in one. What goes by its length costs a look at a header.
 */
export function readChunksInTurns({ headers, socket }: IncomingMessage): void {
  if (headers['transfer-encoding'] === undefined || !(socket instanceof Socket) || read.has(socket)) return;
  read.add(socket);
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
    const reader = new TurnReader(stream, { push, takeCount: () => 0 }, (error) => socket.destroy(error as Error));
    socket.pause = () => {
      reader.hold();
      return socket;
    };
    socket.resume = () => {
      reader.goOn();
      return socket;
    };
    if (socket.isPaused()) reader.hold();
    socket.once('close', () => reader.close());
  });
}
