import type { Worker } from 'node:cluster';
import { expect, test } from 'vitest';
import type { FromWorker } from '../../src/cli/workers/messages.js';
import { WorkerHub } from '../../src/cli/workers/WorkerHub.js';
import { WorkerLink } from '../../src/cli/workers/WorkerLink.js';
import { FakeClock } from '../../src/testing/FakeClock.js';

function noting() {
  const clock = new FakeClock();
  const hub = new WorkerHub(clock, () => undefined);
  const answers: unknown[] = [];
  const worker = {
    isConnected: () => true,
    send: ({ value }: { readonly value: unknown }) => answers.push(value),
  } as unknown as Worker;
  const noteOf = (owner: string, session: string, name: string, text?: string): void =>
    hub.heard(worker, { type: 'note', session, owner, name, lifeMs: 60_000, ...(text !== undefined && { text }) });
  const known = (session: string): string[] => {
    hub.heard(worker, { type: 'ask', id: 1, what: 'notes', key: session });
    return Object.keys(answers.at(-1) as object);
  };
  return { clock, noteOf, known };
}

test('what is noted of sessions is bounded in characters: of one owner the session that was noted longest ago is forgotten', () => {
  const { noteOf, known } = noting();
  const note = (session: string, name: string, text?: string): void => noteOf('one', session, name, text);
  const large = 'x'.repeat(1_024 * 1_024);
  for (let i = 0; i < 100; i++) {
    note('again', `uri ${large}`, '1');
    note('again', `uri ${large}`);
  }
  // That one has ended is little, and is forgotten for no one's much.
  note('ended', `uri ${large}`, '1');
  note('ended', 'ended', '1');
  note('ended', `uri ${large}`);
  note('first', `uri ${large}`, '1');
  for (let i = 0; i < 31; i++) note(`s${i}`, 'uri', large);
  note('again', 'level', 'info');
  expect([known('again'), known('first'), known('s0'), known('s30')]).toEqual([['level'], [], ['uri'], ['uri']]);
  for (let i = 0; i < 50; i++) note(`t${i}`, 'uri', large);
  expect([known('ended'), known('again'), known('s30'), known('t49')]).toEqual([['ended'], ['level'], [], ['uri']]);
});

test('the notes of one owner, large or little, drive out none of another', () => {
  const { clock, noteOf, known } = noting();
  const uri = 'uri file:///home/victim/projects/some-project/src/gateway/main.ts';
  const large = 'x'.repeat(64_000);
  noteOf('victim', 'long', uri, '1');
  noteOf('victim', 'short', 'level', 'debug');
  for (let i = 0; i < 2_000; i++) noteOf('eve', `large ${i}`, 'uri', large);
  for (let i = 0; i < 110_000; i++) noteOf('eve', `small ${i}`, 'ended', '1');
  // However many sessions an owner has with a little more than little.
  for (let i = 0; i < 110_000; i++) noteOf('eve', `more ${i}`, uri, '1');
  expect([known('long'), known('short')]).toEqual([[uri], ['level']]);
  expect([known('large 0'), known('small 0'), known('more 0')]).toEqual([[], [], []]);
  expect([known('small 109999'), known('more 109999')]).toEqual([['ended'], [uri]]);
  // What was noted too long ago does not come back with the next note.
  clock.suspend(60_000);
  noteOf('victim', 'long', 'level', 'info');
  expect([known('long'), known('short'), known('more 109999')]).toEqual([['level'], [], []]);
});

test('a worker that reads nothing is told so much and no more, and given up, once', () => {
  const stuck: Worker[] = [];
  const hub = new WorkerHub(new FakeClock(), (worker) => stuck.push(worker));
  let sent = 0;
  const worker = { isConnected: () => true, send: () => sent++ } as unknown as Worker;
  const from = {} as Worker;
  hub.heard(worker, { type: 'hello', id: 'a' });
  for (let i = 0; i < 200_000; i++) hub.heard(from, { type: 'publish', text: 'x'.repeat(150) });
  expect(sent).toBe(Math.floor((64 * 1_024 * 1_024) / (150 + 512)));
  expect(stuck).toEqual([worker]);
});

test('what clients answer waits for a worker, or for the primary, within bounds; what the gateway itself tells always passes', async () => {
  const hub = new WorkerHub(new FakeClock(), () => undefined);
  const sent: number[] = [];
  const onSent: (() => void)[] = [];
  const worker = (): Worker =>
    ({
      isConnected: () => true,
      send: (message: { readonly text?: string }, done: () => void) => {
        sent.push(message.text?.length ?? 0);
        onSent.push(done);
      },
    }) as unknown as Worker;
  const [from, to] = [worker(), worker()];
  for (const [each, id] of [[from, 'a'] as const, [to, 'b'] as const]) hub.heard(each, { type: 'hello', id });
  const large = 'x'.repeat(10 * 1_024 * 1_024);
  const publish = (text: string, mayBeLost = false): void => hub.heard(from, { type: 'publish', text, mayBeLost });
  for (const text of [large, large, large, large, 'small']) publish(text);
  expect(sent).toEqual([large.length, large.length, large.length, 5]);
  onSent[0]?.();
  publish(large);
  expect(sent).toHaveLength(5);
  // However small they are: many of them are much, too.
  for (let i = 0; i < 20_000; i++) publish('answer', true);
  // The small one counts, too.
  const room = 32 * 1_024 * 1_024 - 3 * (large.length + 512) - (5 + 512);
  expect(sent.splice(5)).toHaveLength(Math.floor(room / 518));

  const told: FromWorker[] = [];
  const link = new WorkerLink((message) => told.push(message));
  const kinds = (): string => told.map(({ type }) => type).join(' ');
  for (const text of [large, large, large, large, 'small']) link.publish(text);
  expect(kinds()).toBe('hello publish ask publish publish publish');
  const before = told.length;
  for (let i = 0; i < 20_000; i++) link.publish('answer', true);
  expect(told.splice(before)).toHaveLength(Math.floor(room / 518));
  link.heard({ type: 'answer', id: 1, value: true });
  await Promise.resolve();
  expect(kinds()).toMatch(/ publish ask$/);
  // As much as was told before the first question was asked.
  for (const text of [large, large]) link.publish(text);
  expect(kinds()).toMatch(/ publish ask publish$/);
  link.heard({ type: 'answer', id: 2, value: true });
  await Promise.resolve();
  for (const text of [large, large, large]) link.publish(text);
  expect(kinds()).toMatch(/ publish ask publish ask publish publish$/);
});

test('what is for one worker goes to that one alone', () => {
  const hub = new WorkerHub(new FakeClock(), () => undefined);
  const told: string[] = [];
  for (const id of ['a', 'b', 'c']) {
    const worker = { isConnected: () => true, send: ({ text }: { text: string }) => told.push(`${id} ${text}`) };
    hub.heard(worker as unknown as Worker, { type: 'hello', id });
  }
  const link = new WorkerLink((message) => {
    if (message.type === 'publish') hub.heard({} as Worker, message);
  });
  link.publish('answer', true, 'b');
  link.publish('changed');
  expect(told).toEqual(['b answer', 'a changed', 'b changed', 'c changed']);
});
