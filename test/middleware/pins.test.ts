import { expect, test, vi } from 'vitest';
import { MiddlewareChain } from '../../src/connection/calls/MiddlewareChain.js';
import { Pins } from '../../src/middleware/ready/Pins.js';
import { listed } from '../support/hooks/planted.js';

test('a store of pins that hung once holds up no later look', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    const get = vi.fn<() => Promise<undefined>>().mockImplementationOnce(() => new Promise(() => undefined));
    const { middleware } = new Pins({ store: { get, set: async () => undefined } });
    const chain = new MiddlewareChain();
    chain.use(middleware);
    const hung = expect(listed(chain)).rejects.toMatchObject({ code: 'ERR_REQUEST_TIMEOUT' });
    const next = listed(chain);
    await new Promise((resolve) => setImmediate(resolve));
    vi.advanceTimersByTime(5_000);
    await hung;
    expect((await next).value).toEqual({ tools: [{ name: 't' }] });
  } finally {
    vi.useRealTimers();
  }
});
