import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { tellListener } from '../../../src/core/events.js';
import { guardedLogger, type Logger } from '../../../src/core/logger.js';
import { checkAtOnce } from '../../../src/core/options.js';
import { within } from '../../../src/core/time/within.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

/** What a user's function may give in place of a promise of this realm's `Promise`. */
const PROMISES: Readonly<Record<string, () => unknown>> = {
  'of another realm': () => runInNewContext('Promise.reject(new Error("planted"))'),
  'of another library': () => ({
    // biome-ignore lint/suspicious/noThenProperty: it is what is tested
    then: (_: unknown, reject: (error: unknown) => void) => reject(new Error('planted')),
  }),
  'that throws when it is asked': () => ({
    // biome-ignore lint/suspicious/noThenProperty: it is what is tested
    then: () => {
      throw new Error('planted');
    },
  }),
  'that throws when it is looked at': () => ({
    // biome-ignore lint/suspicious/noThenProperty: it is what is tested
    get then(): never {
      throw new Error('planted');
    },
  }),
};

const planted = { message: expect.stringContaining('planted') };

test.each(Object.entries(PROMISES))(
  'a promise %s that a user gives is told of and never unhandled',
  async (_, make) => {
    const errors: unknown[] = [];
    tellListener(make as () => void, undefined, (error) => errors.push(error));
    await expect.poll(() => errors).toMatchObject([planted]);

    const warned = new Promise((resolve) => {
      const hear = (warning: Error): void => {
        if (warning.message.includes('a logger failed')) resolve(process.off('warning', hear) && warning);
      };
      process.on('warning', hear);
    });
    guardedLogger({ info: make } as unknown as Logger).info('a line');
    await warned;

    expect(() => checkAtOnce('hook', make())).toThrow();

    const clock = new FakeClock();
    await expect(within(make() as Promise<unknown>, { clock, timeoutMs: 1_000 })).rejects.toMatchObject(planted);
    expect(clock.armedTimers).toBe(0);
  },
);
