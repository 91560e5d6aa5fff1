import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { silentLogger } from '../../../src/core/logger.js';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { StallWatch } from '../../../src/gateway/stdio/StallWatch.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { closeAfter } from '../../support/closeAfter.js';
import { FakePool } from '../../support/FakePool.js';

test('a client over stdio that reads nothing ends, though the end of its input cannot be seen', async () => {
  const result = { content: [{ type: 'text', text: 'x'.repeat(50_000) }] };
  const pool = new FakePool({ a: { methods: { 'tools/call': () => result } } });
  const warned: string[] = [];
  const logger = { ...silentLogger, warn: (_: object | string, message = '') => void warned.push(message) };
  const gateway = closeAfter(new Gateway({ pool, stallTimeoutMs: 100, maxStreamBufferBytes: 100_000, logger }));
  const [input, output] = [new PassThrough(), new PassThrough()];
  const over = gateway.serveStdio({ input, output, path: '/servers/a/mcp', graceMs: 100 });
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 't', version: '1' } };
  input.write(`${JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params })}\n`);
  for (let id = 1; id < 5; id++) {
    input.write(`${JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'x' } })}\n`);
  }
  await expect.poll(() => output.writableLength).toBeGreaterThan(150_000);
  // More than what may wait.
  input.write('\n'.repeat(5_000_000));
  await expect.poll(() => input.isPaused()).toBe(true);
  input.end();
  await over;
  expect(warned).toEqual(['the client reads nothing of what waits for it: it is cut']);
  output.destroy();
});

test('a reader is stalled when it takes nothing for all of the time, not when it is slow', async () => {
  const clock = new FakeClock();
  const output = new PassThrough({ highWaterMark: 10 });
  let stalls = 0;
  using watch = new StallWatch({ output, clock, stallTimeoutMs: 1_000, onStall: () => void stalls++ });
  for (let at = 0; at < 6; at++) watch.write('x'.repeat(10));
  for (let reads = 0; reads < 3; reads++) {
    await clock.advance(600);
    output.read(10);
    await clock.advance(300);
  }
  expect([stalls, output.writableLength > 0]).toEqual([0, true]);
  await clock.advance(2_000);
  expect(stalls).toBe(1);
  // It is told once.
  watch.write('y');
  await clock.advance(5_000);
  expect(stalls).toBe(1);
});
