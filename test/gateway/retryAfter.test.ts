import { expect, test } from 'vitest';
import { CircuitOpenError, RateLimitedError, UpstreamBusyError } from '../../src/core/errors.js';
import { silentLogger } from '../../src/core/logger.js';
import { failureOf } from '../../src/gateway/rpc/failure.js';

test.each([
  ['by a server that limits', new RateLimitedError('server x', 'upstream', 9_999_999_000), 60_000],
  ['by a server that is busy', new UpstreamBusyError('x', 503, 251_606_573_024_414), 60_000],
  ['by a server, for less', new UpstreamBusyError('x', 503, 2_000), 2_000],
  ['by a limit of our own', new RateLimitedError('tool x', 'local', 3_600_000), 3_600_000],
  ['by a breaker of our own', new CircuitOpenError('x', 120_000), 120_000],
])('a client that is sent away %s is told to come back in bounded time', (_, error, retryAfterMs) => {
  const { message, data } = failureOf(error, silentLogger);
  expect(data).toMatchObject({ retryAfterMs });
  // Nor does the text say more.
  expect(Number(/in (\d+) ms$/.exec(message)?.[1] ?? 0)).toBeLessThanOrEqual(retryAfterMs);
});
