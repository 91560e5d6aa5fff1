import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { createGzip } from 'node:zlib';
import { expect, test } from 'vitest';
import { HeldBytes } from '../../../src/gateway/http/HeldBytes.js';
import { LargeAnswer } from '../../../src/gateway/http/stream/LargeAnswer.js';
import { closeAfter } from '../../support/closeAfter.js';

/** As middleware of web frameworks does: what is written goes through a stream of its own, and is told to have been taken at once. */
function compressing(response: ServerResponse): void {
  const [write, end] = [response.write.bind(response), response.end.bind(response)];
  const gzip = createGzip({ level: 1 });
  response.write = ((chunk: string | Buffer) => gzip.write(chunk)) as typeof response.write;
  response.end = ((chunk: string | Buffer) => {
    gzip.end(chunk);
    return response;
  }) as typeof response.end;
  gzip.on('data', (chunk: Buffer) => {
    if (!write(chunk)) gzip.pause();
  });
  gzip.on('end', () => end());
  response.on('drain', () => gzip.resume());
  response.on('close', () => gzip.destroy());
}

test('a client that takes nothing of a large answer is cut behind a middleware that compresses, too', async () => {
  const held = new HeldBytes(100_000_000);
  const piece = Buffer.from(randomBytes(4_000_000).toString('base64'));
  const server = createServer((_request, response) => {
    compressing(response);
    const bounds = { held, maxStreamBufferBytes: 1_000_000, stallTimeoutMs: 100 };
    expect(LargeAnswer.hasRoom(response, bounds)).toBe(true);
    const answer = new LargeAnswer(response, '{"result":', false, bounds, () => undefined);
    for (let times = 0; times < 3; times++) answer.write(piece);
    answer.end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAfter({ close: async () => void (await once(server.close(), 'close')) });
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1').pause();
  client.on('error', () => undefined).write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await expect.poll(() => held.cuts.counts.stalled, { timeout: 10_000 }).toBe(1);
  await expect.poll(() => held.held).toBe(0);
  client.destroy();
});
