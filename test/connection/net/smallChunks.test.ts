import { expect, test } from 'vitest';
import { IncomingBytes } from '../../../src/connection/net/body/IncomingBytes.js';
import { WholeBody } from '../../../src/connection/net/body/WholeBody.js';
import { call, serve } from '../../support/rawCalls.js';
import { said } from '../../support/rawServer.js';

const CHUNKS = 400_000;
const chunked = (text: string): string => text.replaceAll(/./gs, '1\r\n$&\r\n');

/** How often the clock is looked at while `work` is done: of a small chunk that is most of what it costs. */
async function looksAtClock(work: () => Promise<void>): Promise<number> {
  const { now } = performance;
  let looks = 0;
  performance.now = () => {
    looks++;
    return now.call(performance);
  };
  try {
    await work();
  } finally {
    performance.now = now;
  }
  return looks;
}

test('a body in chunks of one byte is read whole, by little more than one look at the clock for each', async () => {
  const { connection } = await serve(
    {
      pieces: ({ res, message }) => {
        const head = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n';
        const [before, after] = JSON.stringify({ jsonrpc: '2.0', id: message.id, result: said('TEXT') }).split('TEXT');
        res.socket?.write(`${head}${chunked(`${before}`)}`);
        res.socket?.write('1\r\nx\r\n'.repeat(CHUNKS));
        res.socket?.write(`${chunked(`${after}`)}0\r\n\r\n`);
      },
    },
    {},
    { maxMessageBytes: 2 * CHUNKS },
  );
  const looks = await looksAtClock(async () => {
    expect(await call(connection, 'pieces')).toEqual(said('x'.repeat(CHUNKS)));
  });
  expect(looks / CHUNKS).toBeLessThan(1.2);
});

test('of a body that came a byte at a time in large reads, little more than its bytes is kept', () => {
  const body = new WholeBody(new IncomingBytes(Number.POSITIVE_INFINITY));
  for (let i = 0; i < 200; i++) body.push(Buffer.alloc(65_536, 97).subarray(i, i + 1));
  const kept = new Set(body.parts.map((part) => part.buffer));
  expect([...kept].reduce((bytes, { byteLength }) => bytes + byteLength, 0)).toBeLessThanOrEqual(2 * 1024 * 1024);
  expect(body.take().toString()).toBe('a'.repeat(200));
});
