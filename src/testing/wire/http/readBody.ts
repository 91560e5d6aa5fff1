import type { IncomingMessage } from 'node:http';
import { IncomingBytes } from '../../../connection/net/body/IncomingBytes.js';

/** Larger than any message a test sends, and still a bound. */
const MAX_BODY_BYTES = 256 * 2 ** 20;

/** The whole body, byte for byte, which counts to `held` until it has come. Rejects when it breaks off, has more than `maxBytes`, or none are left. */
export async function readBody(
  body: IncomingMessage | AsyncIterable<Buffer>,
  maxBytes = MAX_BODY_BYTES,
  held = new IncomingBytes(Number.POSITIVE_INFINITY),
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      const full = held.change(chunk.length);
      if (bytes > maxBytes) throw new Error(`a body of more than ${maxBytes} bytes`);
      if (full !== undefined) throw full;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } finally {
    held.change(-bytes);
  }
}
