import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { answerTo, bridgeTo, gateway, request } from '../../support/bridgeTo.js';

const cancelled = (requestId: number): object => ({
  jsonrpc: '2.0',
  method: 'notifications/cancelled',
  params: { requestId },
});

test('a call that waits for an initialize which is never answered ends when its client cancels it, and was never sent', async () => {
  const asked: string[] = [];
  let answer: (() => void) | undefined;
  const server = gateway((res, { id, method }) => {
    asked.push(`${method} ${id ?? ''}`);
    const json = { 'content-type': 'application/json' };
    if (method !== 'initialize') return void res.writeHead(200, json).end(answerTo(id));
    const result = { protocolVersion: '2025-06-18', capabilities: {} };
    answer = () => res.writeHead(200, json).end(answerTo(id, result));
  });
  // What ends a call that is cancelled later stands still.
  const { send, answered, lines, end } = await bridgeTo(server, { clock: new FakeClock() });
  send(request(1, 'initialize'));
  await expect.poll(() => answer).toBeDefined();
  // More than there may be of them at once.
  for (let id = 2; id <= 1_500; id++) {
    send(request(id, 'ping'), cancelled(id));
    if (id % 100 === 0) await setImmediate();
  }
  send(request(2_000, 'ping'), request(2_001, 'ping'), cancelled(2_000));
  answer?.();
  await answered(2);
  expect(lines.map(({ id }) => id)).toEqual([1, 2_001]);
  expect(lines[1]).toMatchObject({ result: {} });
  expect(asked).toEqual(['initialize 1', 'ping 2001']);
  await end();
});
