import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Clock } from '../../../core/clock.js';
import { InterimResponses } from '../body/InterimResponses.js';

/** So much of an answer may tell nothing, beside so much for each byte of its body: one may come in chunks of one byte. */
const MAX_SILENT_BYTES = 256 * 1_024;
const SILENT_PER_BYTE = 8;

/**
 * Ends a request of Node's client whose answer goes on without telling anything, or changes the protocol, with the reason: interim responses without end, and what its
 * parser passes over without a word (empty lines before the status line, zeros before a chunk's size, extensions of small chunks). Headers,
 * trailers and one extension it bounds itself.
 */
export function boundedClient(asked: ClientRequest, clock: Clock): void {
  const interim = new InterimResponses();
  let silentBytes = 0;
  /** What the body that came since has told. */
  let toldBytes = 0;
  let response: IncomingMessage | undefined;
  const refuse = (why: Error): void => {
    // Else its reader would hear that it was aborted, and not why.
    response?.destroy(why);
    asked.destroy(why);
  };
  // Behind the parser, and a connection within this process brings an answer in one piece.
  const onData = (chunk: Buffer): void => {
    silentBytes = Math.max(0, silentBytes + chunk.length - toldBytes);
    toldBytes = 0;
    if (silentBytes > MAX_SILENT_BYTES) refuse(new Error(`${silentBytes} bytes of it are neither header nor body`));
  };
  asked.once('socket', (socket) => {
    socket.on('data', onData);
    asked.once('close', () => socket.off('data', onData));
  });
  asked.on('information', () => {
    silentBytes = 0;
    const many = interim.add(clock);
    if (many !== undefined) refuse(many);
  });
  // Without a listener Node ends the connection and tells no one but by 'close'.
  asked.once('upgrade', (_, socket) => {
    socket.destroy();
    asked.emit('error', new Error('it changes the protocol of the connection'));
  });
  asked.once('response', (got: IncomingMessage) => {
    response = got;
    silentBytes = 0;
    const { push } = got;
    // The parser hands on each piece of the body by it, read or not.
    got.push = (chunk: Buffer | null, encoding) => {
      toldBytes += (1 + SILENT_PER_BYTE) * (chunk?.length ?? 0);
      return push.call(got, chunk, encoding);
    };
  });
}
