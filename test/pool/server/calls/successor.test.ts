import { expect, test } from 'vitest';
import type { ServerConfig } from '../../../../src/registry/config/ServerConfig.js';
import { MEMORY, memoryPool, outcome } from '../../../support/memoryPool.js';

const OTHER: ServerConfig = { ...MEMORY, args: ['--other'] };
const TARGETS: ServerConfig = { name: 's', targets: [{ transport: 'stdio', command: 'none', args: ['--other'] }] };

/** A call whose first attempt may have run is being sent again when its server is replaced. */
async function replacedInRepeat(config: ServerConfig, to: ServerConfig, options: object = {}) {
  const { pool, connector, clock, call } = memoryPool();
  pool.addServer(config);
  await call('warm');
  let starting = (): void => undefined;
  const restarts = new Promise<void>((resolve) => {
    starting = resolve;
  });
  // Its second start lasts until it is given up; what takes over is not to be reached, unless a test says otherwise.
  connector.onStart = ({ config: own, signal }) => {
    if ('args' in own) throw new Error('not there');
    starting();
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  };
  const repeated = outcome(call('crash', { idempotent: true, ...options }));
  await restarts;
  return { connector, clock, repeated, applied: () => pool.apply([to]) };
}

test.each<[string, ServerConfig, ServerConfig]>([
  ['a server', MEMORY, OTHER],
  ['targets', MEMORY, TARGETS],
])('what may have run never ends as if it had not, when %s takes over its repeat', async (_, config, to) => {
  const { clock, repeated, applied } = await replacedInRepeat(config, to);
  const done = applied();
  await clock.advance(6_000);
  expect(await repeated).toBe('ERR_OUTCOME_UNKNOWN');
  await done;
});

test.each<[string, ServerConfig]>([
  ['a server', OTHER],
  ['targets', TARGETS],
])('it is repeated once in all, not once more by %s that takes over', async (_, to) => {
  const { connector, clock, repeated, applied } = await replacedInRepeat(MEMORY, to);
  connector.onStart = () => undefined;
  const done = applied();
  await clock.advance(6_000);
  expect(await repeated).toBe('ERR_OUTCOME_UNKNOWN');
  await done;
  expect(connector.made.flatMap(({ calls }) => calls)).toEqual(['warm', 'crash', 'crash']);
});

test.each<[string, ServerConfig, ServerConfig]>([
  ['a server', MEMORY, OTHER],
  ['targets', MEMORY, TARGETS],
  ['a server after targets', TARGETS, OTHER],
])('the time of a call is the same that it began with when %s takes over', async (_, from, to) => {
  const { pool, connector, clock, call } = memoryPool();
  pool.addServer({ ...from, maxConnections: 1, maxConcurrent: 1 } as ServerConfig);
  await call('warm');
  const running = outcome(call('hang', { timeoutMs: 60_000 }));
  const waiting = outcome(call('hang', { deadlineMs: 6_000 }));
  await clock.advance(4_000);
  const done = pool.apply([to]);
  await clock.advance(6_000);
  await Promise.all([done, running]);
  expect(await Promise.race([waiting, 'more time than it had'])).toBe('ERR_ACQUIRE_TIMEOUT');
  expect(connector.made.flatMap(({ calls }) => calls)).toEqual(['warm', 'hang']);
});
