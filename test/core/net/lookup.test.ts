import type { LookupAddress } from 'node:dns';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { lookUp, lookUpBy } from '../../../src/core/net/lookup.js';

const at = (address: string): LookupAddress[] => [{ address, family: 4 }];

/** Look-ups of which the system makes two at a time, those of `silent` names without an end. */
function house(...silent: string[]) {
  const asked: string[] = [];
  const queue: (() => void)[] = [];
  let busy = 0;
  const lookup = lookUpBy({
    system: (hostname, _, done) => {
      asked.push(hostname);
      queue.push(() => {
        if (!silent.includes(hostname)) {
          busy--;
          done(null, at('10.0.0.1'));
        }
      });
      for (; busy < 2 && queue.length > 0; ) {
        busy++;
        queue.shift()?.();
      }
    },
    aside: async (hostname) => (hostname === 'known' ? at('10.0.0.2') : []),
  });
  const find = (hostname: string) =>
    new Promise<unknown>((resolve, reject) =>
      lookup(hostname, { all: true }, (error, found) => (error === null ? resolve(found) : reject(error))),
    );
  return { asked, find };
}

test('a name that is known is found beside names whose server is silent, which are looked up once at a time', async () => {
  const { asked, find } = house('a', 'b');
  expect(await find('known')).toEqual(at('10.0.0.1'));
  let settled = 0;
  for (const name of ['a', 'b', 'a', 'b']) void find(name).then(() => settled++);
  for (let round = 0; round < 3; round++) expect(await find('known')).toEqual(at('10.0.0.2'));
  // Whom nobody finds waits for the system.
  void find('other').then(() => settled++);
  await sleep(50);
  expect([settled, asked]).toEqual([0, ['known', 'a', 'b', 'known', 'other']]);
});

test('what the system says is what is told, as each caller asked for it', async () => {
  const lookup = lookUpBy({
    system: (hostname, _, done) =>
      hostname === 'none'
        ? done(Object.assign(new Error('none'), { code: 'ENOTFOUND' }), [])
        : done(null, at('10.0.0.1')),
    aside: async () => at('10.0.0.2'),
  });
  const single = promisify<string, object, string>(lookup as never);
  expect(await single('host', {})).toBe('10.0.0.1');
  await expect(single('none', {})).rejects.toMatchObject({ code: 'ENOTFOUND' });
  const found = await promisify<string, object, LookupAddress[]>(lookUp as never)('localhost', { all: true });
  expect(['127.0.0.1', '::1']).toContain(found[0]?.address);
});

test('what the system does not take fails each look-up, and leaves none that waits', async () => {
  const lookup = lookUpBy({
    system: () => {
      throw new TypeError('no such family');
    },
    aside: async () => [],
  });
  for (let time = 0; time < 2; time++)
    await expect(promisify<string, object, string>(lookup as never)('host', { family: 5 })).rejects.toThrow(
      'no such family',
    );
});
