import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { expect, test } from 'vitest';
import { closeAndCheck, leakBaseline } from '../../src/testing/closeAndCheck.js';
import { activeHandles, endLeft } from '../support/endLeft.js';
import { NOT_OURS } from '../support/notOurs.js';

test('what a failed test left ends with it, though it would come back by itself for ever', async () => {
  const handles = activeHandles();
  const baseline = leakBaseline({ ignoreTimer: (stack) => NOT_OURS.test(stack) });
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  let connections = 0;
  const connectAgain = (): void => {
    connections++;
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    socket.on('connect', () => setTimeout(() => socket.destroy(), 1));
    socket.on('close', () => setTimeout(connectAgain, 1));
  };
  connectAgain();
  setInterval(() => undefined, 10);
  spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  await expect.poll(() => connections).toBeGreaterThan(2);

  await endLeft(baseline, handles);
  const then = connections;
  await closeAndCheck(baseline);
  expect(connections).toBe(then);
});
