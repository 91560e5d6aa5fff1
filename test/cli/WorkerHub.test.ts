import type { Worker } from 'node:cluster';
import { expect, test } from 'vitest';
import { WorkerHub } from '../../src/cli/workers/WorkerHub.js';
import { FakeClock } from '../../src/testing/FakeClock.js';

test('what is noted of sessions is bounded in characters: the one that was noted first is forgotten', () => {
  const hub = new WorkerHub(new FakeClock());
  const answers: unknown[] = [];
  const worker = {
    isConnected: () => true,
    send: ({ value }: { readonly value: unknown }) => answers.push(value),
  } as unknown as Worker;
  const note = (session: string, name: string, text?: string): void =>
    hub.heard(worker, { type: 'note', session, name, lifeMs: 60_000, ...(text !== undefined && { text }) });
  const known = (session: string): string[] => {
    hub.heard(worker, { type: 'ask', id: 1, what: 'notes', key: session });
    return Object.keys(answers.at(-1) as object);
  };
  const large = 'x'.repeat(1_024 * 1_024);
  for (let i = 0; i < 100; i++) {
    note('again', `uri ${large}`, '1');
    note('again', `uri ${large}`);
  }
  note('first', `uri ${large}`, '1');
  for (let i = 0; i < 31; i++) note(`s${i}`, 'uri', large);
  note('again', 'level', 'info');
  expect([known('again'), known('first'), known('s0'), known('s30')]).toEqual([['level'], [], ['uri'], ['uri']]);
});
