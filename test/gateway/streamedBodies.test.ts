import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';

test.each([4, 16, 64])(
  'a body that comes in chunks of %i KiB is answered, the first of a connection too',
  async (kib) => {
    const gateway = closeAfter(new Gateway({ pool: new FakePool({ one: {} }), port: 0 }));
    const { port } = await gateway.listen();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    closeAfter({ close: async () => agent.destroy() });
    const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
    for (let i = 0; i < 3; i++) {
      const sent = request({ port, host: '127.0.0.1', method: 'POST', path: '/mcp', agent, headers });
      Readable.from(Array.from({ length: 10 }, () => Buffer.alloc(kib * 1_024, 'x'))).pipe(sent);
      const [response] = (await once(sent, 'response')) as [IncomingMessage];
      // It is no JSON, and that can only be told at its end.
      expect(response.statusCode).toBe(400);
      await once(response.resume(), 'end');
    }
  },
);
