import { expect, test } from 'vitest';
import { silentLogger } from '../../../src/core/logger.js';
import { GATEWAY_DEFAULTS } from '../../../src/gateway/GatewayOptions.js';
import { Tenants } from '../../../src/gateway/users/Tenants.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { FakePool } from '../../support/FakePool.js';

test('what is kept for very many users ends in turns of the event loop', async () => {
  const tenants = new Tenants({
    gateway: { pool: new FakePool({}) },
    settings: GATEWAY_DEFAULTS,
    sessions: () => [],
    middleware: { around: (endpoint: unknown) => endpoint },
    onEndpoint: () => undefined,
    clock: new FakeClock(),
    logger: silentLogger,
    signal: new AbortController().signal,
  } as never);
  let closing = 0;
  for (let at = 0; at < 500; at++) {
    const tenant = tenants.of({ principal: `user ${at}` });
    const close = tenant.close.bind(tenant);
    tenant.close = (options) => {
      closing++;
      return close(options);
    };
  }
  const closed = tenants.close({ graceMs: 0 });
  expect(closing).toBeLessThan(200);
  await closed;
  expect(closing).toBe(500);
});
