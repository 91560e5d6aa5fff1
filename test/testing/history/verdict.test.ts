import { expect, test } from 'vitest';
import { OptionError } from '../../../src/core/errors.js';
import { type CheckOptions, check } from '../../../src/testing/history/check.js';
import { History } from '../../../src/testing/history/History.js';
import type { HistoryEvent, UntimedEvent } from '../../../src/testing/history/HistoryEvent.js';

const timed = (events: readonly UntimedEvent[]): HistoryEvent[] =>
  events.map((event, index) => ({ ...event, atMs: 1_000 + index }) as HistoryEvent);

const call = (name: string): UntimedEvent => ({
  type: 'invoke',
  call: name,
  server: 'files',
  method: 'tools/call',
  tool: 'write',
  principal: 'alice',
});

const repeated: readonly UntimedEvent[] = [
  { type: 'note', text: 'three servers are up' },
  call('c1'),
  { type: 'effect', phase: 'begin', call: 'c1', server: 'files', pid: 11 },
  { type: 'fault', fault: 'crash', server: 'files', call: 'c1' },
  call('c2'),
  { type: 'effect', phase: 'begin', call: 'c1', server: 'files', pid: 12 },
  { type: 'answer', call: 'c1', of: 'c1' },
  { type: 'failure', call: 'c2', code: 'ERR_CLOSED', acted: 'no' },
];

test('a verdict says which call, which rule, and shows the lines of the history around it', () => {
  expect(String(check(timed(repeated), { label: 'seed 7' }))).toBe(
    `GUILTY (seed 7) of 1 violation(s) of repeated-effect
2 calls: 1 answers, 1 failures, 0 cancelled; 2 effects, 1 faults; 8 events

1. repeated-effect: call c1 (tools/call write on files, principal alice) took effect 2 times, and is not idempotent
   the rule: a call that is not marked idempotent takes effect once
     -0.001 s  note         text="three servers are up"
   > +0.000 s  invoke       c1 server=files method=tools/call tool=write principal=alice
   > +0.001 s  effect       phase=begin c1 server=files pid=11
     +0.002 s  fault        fault=crash server=files c1
     +0.003 s  invoke       c2 server=files method=tools/call tool=write principal=alice
   > +0.004 s  effect       phase=begin c1 server=files pid=12
   > +0.005 s  answer       c1 of=c1
     +0.006 s  failure      c2 code=ERR_CLOSED acted=no`,
  );
});

test('a verdict of very many violations fits on one screen', () => {
  const events: UntimedEvent[] = [];
  for (let index = 0; index < 500; index++) {
    events.push(call(`c${index}`), { type: 'answer', call: `c${index}` }, { type: 'answer', call: `c${index}` });
    events.push({ type: 'alive', what: `${index} (S): \u001b[31mnode` });
  }
  for (let index = 0; index < 400; index++)
    events.push({ type: 'effect', phase: 'begin', call: 'c0', server: 'files' });
  const text = String(check(timed(events)));
  expect(text.split('\n').length).toBeLessThan(60);
  expect(text).toContain('- and ');
  expect(text).toContain('GUILTY of 1500 violation(s) of settled-twice, repeated-effect, no-effect, alive-after-close');
  expect(text).not.toContain('\u001b');
});

test('assert throws the verdict, and a good history passes', () => {
  expect(() => check(timed(repeated)).assert()).toThrow(/c1 .* took effect 2 times/);
  const good = check(timed(repeated.filter((event) => event.type !== 'effect' || event.pid === 11)));
  good.assert();
  expect(JSON.parse(JSON.stringify(good))).toMatchObject({ ok: true, violations: [], counts: { calls: 2, faults: 1 } });
});

test('a call that is still open is no crime before the end', () => {
  const open = timed([call('c1')]);
  expect(check(open).ok).toBe(true);
  expect(check([...open, { type: 'end', atMs: 2_000 }]).violations).toMatchObject([{ rule: 'unsettled', call: 'c1' }]);
});

test('a permit that was waited for convicts only when no moment of its grant could be right', () => {
  const limit: UntimedEvent = { type: 'limit', limit: 'rate', max: 1, windowMs: 100 };
  const permits = (sinceMs: number): HistoryEvent[] => [
    { ...limit, atMs: 0 } as HistoryEvent,
    { type: 'permit', limit: 'rate', sinceMs: 200, atMs: 200, weight: 1 },
    { type: 'permit', limit: 'rate', sinceMs, atMs: 299, weight: 1 },
  ];
  expect(check(permits(150)).ok).toBe(true);
  expect(check(permits(250)).violations).toMatchObject([{ rule: 'limit' }]);
});

test('a history that could not keep all its events acquits no one', () => {
  const history = new History({ maxEvents: 1 });
  history.add({ type: 'note', text: 'one' });
  history.add({ type: 'note', text: 'two' });
  expect(history.dropped).toBe(1);
  expect(check(history).violations).toMatchObject([{ rule: 'incomplete', message: '1 events were not kept' }]);
});

test('rules can be left out, by names that exist', () => {
  expect(check(timed(repeated), { except: ['repeated-effect'] }).ok).toBe(true);
  expect(() => check([], { except: ['repeated'] } as unknown as CheckOptions)).toThrow(OptionError);
  expect(() => check([], { cancelSlackMs: -1 })).toThrow(/cancelSlackMs/);
  expect(() => new History({ maxEvents: 0 })).toThrow(/maxEvents/);
});

test('a line that is no event is refused with its number and what was expected', () => {
  const good = '{"type":"note","atMs":1,"text":"a"}';
  expect(() => History.parse(`${good}\n\nnonsense`)).toThrow(/history line 3.*one JSON object/);
  expect(() => History.parse(`${good}\n{"type":"notes","atMs":1}`)).toThrow(/history line 2.*a type of invoke/);
  expect(() => History.parse('{"type":"answer","atMs":1}')).toThrow(/call: a string/);
  expect(() => History.parse('{"type":"end"}')).toThrow(/atMs: a number/);
  expect(() => History.parse('{"type":"constructor","atMs":1}')).toThrow(/a type of/);
  expect(() => History.parse('[]')).toThrow(/one JSON object/);
});

test('events are told as they are kept, with the time of the clock that was given', () => {
  const told: HistoryEvent[] = [];
  const history = new History({ nowMs: () => 42, prefix: 'a', onEvent: (event) => told.push(event) });
  history.add({ type: 'note', text: 'hello' });
  expect(told).toEqual([{ type: 'note', text: 'hello', atMs: 42 }]);
  expect([history.nextCall(), history.nextCall()]).toEqual(['a1', 'a2']);
});
