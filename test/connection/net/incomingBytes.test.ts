import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { type BrotliCompress, constants, createBrotliCompress } from 'node:zlib';
import { expect, test } from 'vitest';
import { IncomingBytes } from '../../../src/connection/net/body/IncomingBytes.js';
import { httpPool, rawPool, tool } from '../../support/httpPool.js';
import { RawServer, said } from '../../support/rawServer.js';

const MIB = 2 ** 20;

const outcome = (call: Promise<string>): Promise<string | Error> => call.catch((error: Error) => error);

/** What so much of a text is as a compressor flushes it. */
async function flushed(compressor: BrotliCompress, text: Buffer): Promise<Buffer> {
  const parts: Buffer[] = [];
  compressor.on('data', (part: Buffer) => void parts.push(part));
  compressor.write(text);
  await new Promise<void>((resolve) => compressor.flush(resolve));
  return Buffer.concat(parts);
}

/** Answers of 900 KiB that stop before their end, until they are let go on. */
test.each(['json', 'events'] as const)(
  'answers on their way are bounded together, over all connections of a pool (%s)',
  async (kind) => {
    const stopped: (() => void)[] = [];
    const type = kind === 'json' ? 'application/json' : 'text/event-stream';
    const large = async ({ res, message }: { res: ServerResponse; message: { id?: unknown } }): Promise<void> => {
      const text = JSON.stringify({ jsonrpc: '2.0', id: message.id, result: said('x'.repeat(900 * 1024)) });
      const body = kind === 'json' ? text : `data: ${text}\n\n`;
      res.writeHead(200, { 'content-type': type });
      if (!res.write(body.slice(0, -10))) await once(res, 'drain');
      stopped.push(() => res.end(body.slice(-10)));
    };
    const { pool } = await rawPool({ tools: { large: large as never } }, { maxIncomingBytes: 2.5 * MIB });
    // Whichever comes last has no room, and gives up what it holds.
    const calls = [1, 2, 3].map(() => outcome(tool(pool, 'large')));
    expect(await Promise.race(calls)).toMatchObject({
      code: 'ERR_MESSAGE_TOO_LARGE',
      acted: 'perhaps',
      message: expect.stringContaining('maxIncomingBytes'),
    });
    expect(await tool(pool, 'echo', { text: 'small' })).toBe('small');
    let settled = 0;
    for (const each of calls) void each.then(() => settled++);
    await expect
      .poll(() => {
        for (const goOn of stopped.splice(0)) goOn();
        return settled;
      })
      .toBe(3);
    const lengths = (await Promise.all(calls)).filter((each) => typeof each === 'string').map(({ length }) => length);
    expect(lengths).toEqual([900 * 1024, 900 * 1024]);
    // What has come, failed or was given up is counted no more.
    for (let i = 0; i < 5; i++) {
      const call = tool(pool, 'large');
      await expect.poll(() => stopped.length).toBe(1);
      stopped.pop()?.();
      expect(await call).toHaveLength(900 * 1024);
    }
  },
);

test('what is held to decode answers that came compressed unasked counts as on its way, and no more once they have ended', async () => {
  const responses: ServerResponse[] = [];
  // Comments: some megabytes of them are a hundred bytes on their way.
  const params = { [constants.BROTLI_PARAM_LGWIN]: 24 };
  const packed = await flushed(createBrotliCompress({ params }), Buffer.alloc(4 * MIB, ': comment\n'));
  const open = async ({ res }: { res: ServerResponse }): Promise<void> => {
    res.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'br' }).write(packed);
    responses.push(res);
  };
  const { pool } = await rawPool({ tools: { open: open as never } }, { maxIncomingBytes: 44 * MIB });
  for (let round = 0; round < 2; round++) {
    const ended = [1, 2, 3].map(() => outcome(tool(pool, 'open')));
    expect(await Promise.race(ended)).toMatchObject({
      code: 'ERR_MESSAGE_TOO_LARGE',
      message: expect.stringContaining('maxIncomingBytes'),
    });
    await expect.poll(() => responses.length).toBe(3);
    for (const each of responses.splice(0)) each.destroy();
    await Promise.all(ended);
  }
  expect(packed.length).toBeLessThan(1_000);
});

test('a server that leaves answers open takes nothing that the answers of others need, nor opens their breakers', async () => {
  let coming = 0;
  const open = async ({ res }: { res: ServerResponse }): Promise<void> => {
    res.writeHead(200, { 'content-type': 'application/json' });
    res.write(`{"jsonrpc":"2.0","result":"${'x'.repeat(300 * 1024)}`);
    coming++;
  };
  const hostile = await RawServer.listen({ tools: { open: open as never } });
  const good = await RawServer.listen();
  const pool = httpPool({ maxIncomingBytes: MIB, breakerThreshold: 1 });
  pool.addServer({ name: 'hostile', transport: 'http', url: hostile.url, era: 'legacy' });
  pool.addServer({ name: 'raw', transport: 'http', url: good.url, era: 'legacy' });
  const ended = [1, 2, 3, 4].map(() => outcome(pool.callTool('hostile', 'open').then(String)));
  await expect.poll(() => coming).toBe(4);
  // Two have room, and what failed for want of it is no failure of the server that it counts.
  const refused = {
    code: 'ERR_MESSAGE_TOO_LARGE',
    message: expect.stringMatching(/of this server, .*maxIncomingBytes/),
  };
  expect(await Promise.race(ended)).toMatchObject(refused);
  for (const size of [1, 10_000, 60_000, 180_000]) {
    expect(await tool(pool, 'echo', { text: 'x'.repeat(size) })).toHaveLength(size);
  }
  for (const name of ['hostile', 'raw']) expect(pool.stats(name)).toMatchObject({ breaker: 'closed' });
  hostile.cutAll();
  await Promise.all(ended);
});

test('an event that is large and goes no further ends its stream after bodyTimeoutMs', async () => {
  let streams = 0;
  let ended = 0;
  const get = ({ res }: { res: ServerResponse }): void => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write(`retry: 1\n\ndata: ${'x'.repeat(20_000)}`);
    streams++;
    res.on('close', () => ended++);
  };
  const { pool } = await rawPool({ get: get as never }, { bodyTimeoutMs: 50 });
  await tool(pool, 'echo', { text: 'x' });
  await expect.poll(() => streams, { timeout: 5_000 }).toBe(2);
  expect(ended).toBeGreaterThan(0);
});

test('of what a server may have on its way one caller leaves some to others', () => {
  const all = new IncomingBytes(16_000);
  const [one, two] = [all.of('one'), all.of('two')];
  const most = (server: typeof one, caller?: string): number => {
    let bytes = 0;
    while (server.change(100, caller) === undefined) bytes += 100;
    server.change(-100, caller);
    return bytes;
  };
  // Three quarters of three quarters, and so on of what is left.
  expect(most(one, 'a')).toBe(9_000);
  expect(most(one, 'b')).toBe(2_200);
  expect(most(two, 'a')).toBe(2_700);
  expect(most(two)).toBe(900);
  expect(most(all as never)).toBe(16_000 - 14_800);
  one.change(-9_000, 'a');
  one.change(-2_200, 'b');
  two.change(-2_700, 'a');
  two.change(-900);
  expect(all.bytes).toBe(1_200);
});
