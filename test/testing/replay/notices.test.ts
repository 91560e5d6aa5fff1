import fc from 'fast-check';
import { expect, test } from 'vitest';
import { comparable, differences } from '../../../src/testing/replay/differences.js';
import { exchangesOf } from '../../../src/testing/replay/exchanges.js';
import { Notices } from '../../../src/testing/replay/Notices.js';

test('very many notifications that are not as recorded cost no comparison of each with each', () => {
  const count = 30_000;
  const said = (data: unknown) => ({ method: 'notifications/message', params: { level: 'info', data } });
  const event = { type: 'message', server: 's', wire: 'w', atMs: 0, from: 'server' } as const;
  const recorded = Array.from(
    { length: count },
    (_, at) => ({ ...event, message: { jsonrpc: '2.0', ...said({ at, n: `x${at}` }) } }) as const,
  );
  const asked = { ...event, from: 'client', message: { jsonrpc: '2.0', id: 1, method: 'tools/list' } } as const;
  const answer = { ...event, message: { jsonrpc: '2.0', id: 1, result: {} } } as const;
  const notices = new Notices(exchangesOf([asked, ...recorded, answer]), ['params.data.at']);
  for (let at = 0; at < count; at++) notices.hear(said({ at, n: `y${at}` }));
  // What may differ may be missing, and the order of members is of no account.
  notices.hear({ method: 'notifications/message', params: { data: { n: 'x7' }, level: 'info' } });
  const told = [...notices.divergences()];
  expect(told.filter((each) => each.endsWith('did not come'))).toHaveLength(count - 1);
  expect(told.at(-1)).toBe(`${count - 100} more notifications came that are not in the recording`);
});

test('two values have one text exactly where they do not differ', () => {
  const ignored = fc.constantFrom([], ['params.a'], ['params.*'], ['params.a.*', 'params.0']);
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), ignored, (a, b, ignore) => {
      for (const [one, other] of [
        [a, b],
        [a, structuredClone(a)],
        [
          { a, b },
          { b, a },
        ],
        [[a], [a, b]],
        [{ a }, { a: b }],
      ]) {
        const same = differences(one, other, ignore, 'params').length === 0;
        expect(comparable(one, ignore, 'params') === comparable(other, ignore, 'params')).toBe(same);
      }
    }),
  );
});
