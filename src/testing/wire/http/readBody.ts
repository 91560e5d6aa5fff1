import type { IncomingMessage } from 'node:http';

/** Larger than any message a test sends, and still a bound. */
const MAX_BODY_BYTES = 256 * 2 ** 20;

/** The whole body, byte for byte. Rejects when it breaks off, or has more than `maxBytes`. */
export async function readBody(
  body: IncomingMessage | AsyncIterable<Buffer>,
  maxBytes = MAX_BODY_BYTES,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new Error(`a body of more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
