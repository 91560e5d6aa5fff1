import { expect, test } from 'vitest';
import type { Connection } from '../../../src/connection/Connection.js';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../../support/closeAfter.js';
import { openHttp, openSse } from '../../support/httpServers.js';
import { LEGACY } from '../../support/rawCalls.js';

const LARGE = 100_000;
const ASK = { name: 'ask', arguments: {} };
const answerOf = (chars: number) => async () => ({
  role: 'assistant',
  model: 'm',
  content: { type: 'text', text: 'x'.repeat(chars) },
});

test.each(['http', 'sse'] as const)(
  'large answers to what a server asks end no connection, however slowly it takes them (%s)',
  async (kind) => {
    const held: (() => void)[] = [];
    const fake = closeAfter(fakeServer({ era: 'legacy' }));
    const { url, sseUrl } = await fake.listen({
      intercept: ({ message }) => {
        if (message === undefined || 'method' in message || JSON.stringify(message).length < LARGE) return false;
        return new Promise((resolve) => held.push(() => resolve(false)));
      },
    });
    // One such answer alone is more.
    const options = { ...LEGACY, capabilities: { sampling: {} }, maxReplyBytes: 65_536 };
    const connection: Connection = kind === 'http' ? await openHttp(url, options) : await openSse(sseUrl, options);
    const ask = (chars: number): Promise<unknown> => {
      connection.setRequestHandler(answerOf(chars));
      const options = kind === 'http' ? { onRequest: answerOf(chars) } : {};
      return connection.request('tools/call', ASK, options).catch((error: unknown) => error);
    };
    const first = ask(LARGE);
    await expect.poll(() => held.length).toBe(1);
    // A second one finds no room: its server is told so, and small ones pass.
    expect(JSON.stringify(await ask(LARGE))).toContain('found no room');
    expect(JSON.stringify(await ask(10))).toContain('xxxxxxxxxx');
    held[0]?.();
    expect(JSON.stringify(await first)).toContain('x'.repeat(1_000));
    expect(held).toHaveLength(1);
  },
);
