import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ClientPipe } from '../../../src/gateway/stdio/ClientPipe.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

/** The pipes of a client that reads nothing until it is made to. */
function clientOf(maxStreamBufferBytes = 100_000) {
  const [input, output, clock] = [new PassThrough(), new PassThrough({ highWaterMark: 1 }), new FakeClock()];
  const lines: string[] = [];
  const stalls: number[] = [];
  const lost = { count: 0 };
  const pipe = new ClientPipe({
    input,
    output,
    clock,
    maxMessageBytes: 1e6,
    maxStreamBufferBytes,
    maxBufferedBytes: 1e6,
    stallTimeoutMs: 30_000,
    onStall: (ms) => void stalls.push(ms),
    onDrop: () => void lost.count++,
    onLine: (line) => void lines.push(line),
    onOversized: () => undefined,
  });
  const said = async (count: number): Promise<string[]> => {
    while (lines.length < count) await turn();
    return lines;
  };
  return { pipe, input, output, clock, lines, stalls, lost, said };
}

test('what servers say holds no client back, nor its end, and what it may lose is dropped beyond the bound of a stream', async () => {
  const { pipe, input, output, lost, said } = clientOf();
  const stream = {};
  for (let sent = 0; sent < 100; sent++) pipe.offer('x'.repeat(10_000), 'notification', stream);
  pipe.offer('?'.repeat(10_000), 'request', stream);
  expect(lost.count).toBe(90);
  expect(output.writableLength).toBeLessThan(130_000);
  for (const line of ['1', '2', '3']) {
    input.write(`${line}\n`);
    await said(Number(line));
  }
  input.end();
  await once(pipe.signal, 'abort');
});

test('one stream of notifications that fills the room leaves some to the others', () => {
  const { pipe, output, lost } = clientOf();
  const [flood, other] = [{}, {}];
  for (let sent = 0; sent < 100; sent++) pipe.offer('x'.repeat(10_000), 'notification', flood);
  const dropped = lost.count;
  pipe.offer('progress', 'notification', other);
  expect(lost.count).toBe(dropped);
  let [heard, last] = ['', ''];
  output.setEncoding('utf8').on('data', (text: string) => {
    heard += text;
    [last = ''] = heard.split('\n').slice(-2);
  });
  return expect.poll(() => last).toBe('progress');
});

test('messages of a client that is behind with answers wait, in order, and go on below the bound', async () => {
  const { pipe, input, output, lines, said } = clientOf();
  pipe.send('x'.repeat(200_000));
  const all = Array.from({ length: 50 }, (_, at) => `line ${at}`);
  for (const line of all) input.write(`${line}\n`);
  input.end('cut');
  await once(input, 'end');
  expect([lines, pipe.signal.aborted]).toEqual([[], false]);
  // Something waits all the time: it is not what is waited for.
  output.on('data', () => pipe.offer('notice', 'notification', pipe));
  expect(await said(51)).toEqual([...all, 'cut']);
  expect(pipe.signal.aborted).toBe(true);
  output.destroy();
});

test('a client that is behind, reads nothing and closes its end is gone after 2 s', async () => {
  const { pipe, input, clock, lines, stalls } = clientOf();
  pipe.send('x'.repeat(200_000));
  pipe.send('y');
  input.end('1\n');
  await once(input, 'end');
  await clock.advance(1_900);
  expect(pipe.signal.aborted).toBe(false);
  await clock.advance(100);
  expect([pipe.signal.aborted, stalls, lines]).toEqual([true, [2_000], []]);
});

test('what a client that is behind may have waiting is bounded', async () => {
  const { pipe, input, output, said } = clientOf();
  pipe.send('x'.repeat(200_000));
  const line = `${'z'.repeat(99_999)}\n`;
  for (let sent = 0; sent < 60; sent++) input.write(line);
  while (!input.isPaused()) await turn();
  expect(input.readableLength + input.writableLength).toBeGreaterThan(1_000_000);
  output.resume();
  await said(60);
  input.end();
  await once(pipe.signal, 'abort');
});

test('what waits for a slow client leaves at the end, however long it takes, until its front is to close', async () => {
  for (const closes of [false, true]) {
    const { pipe, output, clock, stalls } = clientOf();
    const closing = new AbortController();
    for (let sent = 0; sent < 8; sent++) pipe.send('x'.repeat(10_000));
    let over = false;
    const flushed = pipe.flushed(closing.signal).then(() => {
      over = true;
    });
    for (let read = 0; read < 3; read++) {
      await clock.advance(1_500);
      output.read(10_000);
    }
    expect([over, stalls]).toEqual([false, []]);
    if (closes) closing.abort();
    else output.resume();
    await clock.advance(2_000);
    await flushed;
    expect([output.writableLength > 0, clock.armedTimers]).toEqual([closes, 0]);
    output.destroy();
  }
});

test('a line that begins with a mark (BOM), as some programs write it first, is read without it', async () => {
  const { input, said } = clientOf();
  input.write('\uFEFF{"a":"\uFEFF"}\r\n{}\n');
  expect(await said(2)).toEqual(['{"a":"\uFEFF"}', '{}']);
});
