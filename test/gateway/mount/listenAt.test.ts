import { Server } from 'node:net';
import { expect, test, vi } from 'vitest';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { closeAfter } from '../../support/closeAfter.js';
import { FakePool } from '../../support/FakePool.js';

test('thousands may connect at one instant: the system is asked to let them wait', async () => {
  const listen = vi.spyOn(Server.prototype, 'listen');
  const gateway = closeAfter(new Gateway({ pool: new FakePool({}), port: 0 }));
  await gateway.listen();
  expect(listen.mock.calls).toEqual([[{ host: '127.0.0.1', port: 0, backlog: 4_096 }]]);
  listen.mockRestore();
});
