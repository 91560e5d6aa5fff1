import { expect, test } from 'vitest';
import type { Connection } from '../../../src/connection/Connection.js';
import { Cancellations } from '../../../src/connection/net/replies/Cancellations.js';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../../support/closeAfter.js';
import { openHttp, openSse } from '../../support/httpServers.js';
import { LEGACY } from '../../support/rawCalls.js';

const FLOOD = 200;

test.each(['http', 'sse'] as const)(
  'cancellations that a server takes too slowly end nothing of others (%s)',
  async (kind) => {
    let calls = 0;
    const cancelled: (() => void)[] = [];
    const fake = closeAfter(fakeServer({ era: 'legacy' }));
    const { url, sseUrl } = await fake.listen({
      intercept: ({ message, res }) => {
        const { method, params } = message ?? {};
        if (method === 'notifications/cancelled') {
          cancelled.push(() => res.writeHead(202).end());
          return true;
        }
        if ((params as { name?: string } | undefined)?.name !== 'hang') return false;
        calls++;
        if (kind === 'sse') res.writeHead(202).end();
        return true;
      },
    });
    // Of replies, 32 would fill it.
    const options = { ...LEGACY, maxReplyBytes: 65_536 };
    const connection: Connection = kind === 'http' ? await openHttp(url, options) : await openSse(sseUrl, options);
    const abort = new AbortController();
    const flood = Array.from({ length: FLOOD }, () =>
      connection
        .request('tools/call', { name: 'hang', arguments: {} }, { signal: abort.signal })
        .catch((error: unknown) => error),
    );
    await expect.poll(() => calls).toBe(FLOOD);
    abort.abort(new Error('given up'));
    await Promise.all(flood);
    await expect.poll(() => cancelled.length).toBe(32);
    const echo = { name: 'echo', arguments: { text: 'still here' } };
    expect(await connection.request('tools/call', echo, {})).toMatchObject({ content: [{ text: 'still here' }] });
    // All of them go out once the server takes them.
    for (let done = 0; done < FLOOD; done++) {
      await expect.poll(() => cancelled.length).toBeGreaterThan(done);
      cancelled[done]?.();
    }
  },
);

test('a flood of cancellations of one caller takes none of another’s', async () => {
  const sent: string[] = [];
  const answers: (() => void)[] = [];
  let dropped = 0;
  const all = new Cancellations(() => dropped++);
  const [flooder, other] = [{}, {}];
  const cancel = (caller: object, what: string): void =>
    all.send(caller, () => {
      sent.push(what);
      return new Promise<void>((resolve) => answers.push(resolve));
    });
  for (let i = 0; i < 5_000; i++) cancel(flooder, `flood ${i}`);
  cancel(other, 'mine');
  // A send may wait for its turn of the event loop.
  await expect.poll(() => [sent.length, dropped]).toEqual([32, 5_001 - 32 - 1_000]);
  answers.shift()?.();
  answers.shift()?.();
  await expect.poll(() => sent).toContain('mine');
  // Of the flood, the newest are left.
  const drained = (): string | undefined => {
    while (answers.length > 0) answers.shift()?.();
    return sent.at(-1);
  };
  await expect.poll(drained, { interval: 1 }).toBe('flood 4999');
  expect(sent).toHaveLength(1_032);
});
