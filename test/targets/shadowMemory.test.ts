import { expect, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { inTurn } from '../../src/core/time/turns.js';
import { Refusals } from '../../src/targets/Refusals.js';
import type { RoutedCall, RoutedOptions } from '../../src/targets/routes.js';
import { Shadow } from '../../src/targets/Shadow.js';
import type { RoutedServer } from '../../src/targets/Target.js';
import { closeAfter } from '../support/closeAfter.js';
import { collectGarbage } from '../support/collectGarbage.js';

/** What copies keep that their mirror does not answer. */

type Call = RoutedCall<RoutedServer, RoutedOptions>;

/** Its mirror answers nothing, until the test is over. */
function hanging(compare = true) {
  const closing = new AbortController();
  const mirror = { id: 'mirror', server: {} };
  const options = {
    server: 'app',
    targets: { mirror, config: { mirror: { ratio: 1, compare } } },
    clock: systemClock,
    random: () => 0,
    closing: closing.signal,
  };
  const shadow = new Shadow<RoutedServer, RoutedOptions>(options as never, new Refusals(systemClock));
  const close = async (): Promise<void> => closing.abort(new Error('closed'));
  closeAfter({ close });
  return { shadow, close };
}

const call = (params?: Call['params'], options: RoutedOptions = {}): Call => ({
  method: 'tools/call',
  params,
  options,
  repeatable: true,
  send: (_server, { signal }) =>
    new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason), { once: true })),
  onRetry: () => undefined,
});

const ask = (shadow: Shadow<RoutedServer, RoutedOptions>, what: Call, answer: unknown = {}): Promise<unknown> =>
  shadow.request(
    what,
    async () => answer,
    () => 0,
  );

test.each([true, false])(
  'a copy keeps neither the answer of its call nor its listeners (compared: %s)',
  async (compare) => {
    const { shadow } = hanging(compare);
    const kept: WeakRef<object>[] = [];
    const one = async (): Promise<void> => {
      const answer = { content: [] };
      const onProgress = (): void => void answer;
      kept.push(new WeakRef(answer), new WeakRef(onProgress));
      await ask(shadow, call({}, { onProgress }), answer);
    };
    for (let calls = 0; calls < 3; calls++) await one();
    await expect
      .poll(() => {
        collectGarbage();
        return kept.filter((each) => each.deref() !== undefined).length;
      })
      .toBe(0);
    expect(shadow.mirror).toMatchObject({ sent: 3, failed: 0 });
  },
);

test.each([true, false])(
  'the answer of a mirror is not kept until that of a slow target comes (compared: %s)',
  async (compare) => {
    const { shadow } = hanging(compare);
    const kept: WeakRef<object>[] = [];
    const ended = new AbortController();
    const one = async (): Promise<unknown> => {
      const send = async (): Promise<unknown> => {
        const answer = Buffer.from('{"content":[]}');
        kept.push(new WeakRef(answer));
        return answer;
      };
      const quick: Call = { ...call({}), send };
      const slow = () => new Promise((resolve) => ended.signal.addEventListener('abort', resolve, { once: true }));
      return shadow.request(quick, slow, () => 0);
    };
    const calls = [one(), one(), one()];
    await expect
      .poll(() => {
        collectGarbage();
        return kept.filter((each) => each.deref() !== undefined).length;
      })
      .toBe(0);
    ended.abort();
    await Promise.all(calls);
  },
);

test('an answer that waits to be compared keeps nothing of its message but what is compared', async () => {
  const { shadow } = hanging();
  const answer = Buffer.from(`{"content":[{"type":"text","text":"short"}],"_meta":{"text":"${'x'.repeat(800_000)}"}}`);
  const before = collectGarbage();
  for (let calls = 0; calls < 30; calls++) await ask(shadow, call({}), answer);
  // Each was read in its turn.
  await inTurn(() => undefined);
  await expect.poll(() => collectGarbage() - before).toBeLessThan(8_000_000);
});

test('copies of large params are skipped beyond 64 MiB of a server, and twice as much of all, until they end', async () => {
  const all = Array.from({ length: 4 }, () => hanging());
  const large = call({ name: 'x'.repeat(4_000_000) });
  for (const { shadow } of all) for (let calls = 0; calls < 10; calls++) await ask(shadow, large);
  expect(all.map(({ shadow }) => shadow.mirror.sent)).toEqual([4, 4, 0, 0]);
  expect(all.map(({ shadow }) => shadow.mirror.skipped)).toEqual([6, 6, 10, 10]);
  await all[0]?.close();
  await expect.poll(() => all[0]?.shadow.mirror.failed).toBe(4);
  await ask(all[2]?.shadow ?? expect.fail(), large);
  expect(all[2]?.shadow.mirror.sent).toBe(1);
});
