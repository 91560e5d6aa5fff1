import { expect, test } from 'vitest';
import { ResourcePool } from '../../../src/concurrent/resource/ResourcePool.js';
import { systemClock } from '../../../src/core/clock.js';
import { thrown } from '../../../src/core/errors/thrown.js';
import { within } from '../../../src/core/time/within.js';
import { ShutdownPlan } from '../../../src/shutdown/ShutdownPlan.js';

/** Throws at whatever is done with it. */
const odd: unknown = new Proxy(
  {},
  {
    get: () => {
      throw 5;
    },
    getPrototypeOf: () => {
      throw 6;
    },
    has: () => {
      throw 7;
    },
  },
);

test('what cannot even be looked at is an error that says so; anything else stays what it is', () => {
  expect(thrown(odd)).toEqual(new Error('something was thrown that cannot be looked at'));
  for (const each of [null, undefined, 5, 'x', {}, new Error('y')]) expect(thrown(each)).toBe(each);
});

test('a pool and a plan go on and end, whatever a function of theirs throws', async () => {
  const fails = (): never => {
    throw odd;
  };
  const created = new ResourcePool({ create: fails, destroy: async () => undefined }, { maxResources: 1 });
  await expect(created.use(async () => 1)).rejects.toMatchObject({ code: 'ERR_START_FAILED' });
  await created.close();
  const destroyed = new ResourcePool({ create: async () => ({}), destroy: fails }, { maxResources: 1 });
  expect(await destroyed.use(async () => 1)).toBe(1);
  await expect(destroyed.close()).rejects.toThrow(AggregateError);
  const plan = new ShutdownPlan();
  plan.add('odd', fails);
  expect((await plan.shutdown('test')).steps).toMatchObject([{ name: 'odd', outcome: 'failed' }]);
});

test('a wait ends with whatever its signal is aborted with', async () => {
  const control = new AbortController();
  const wait = within(new Promise(() => undefined), { clock: systemClock, signal: control.signal });
  control.abort(odd);
  await expect(wait).rejects.toThrow('cannot be looked at');
});
