import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { messageOf, OptionError } from '../../../src/core/errors.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { EventLog } from '../../../src/testing/faults/EventLog.js';
import { FaultPlan } from '../../../src/testing/faults/FaultPlan.js';
import { failureLogger } from '../../../src/testing/faults/failureLogger.js';
import { FAULT_NAMES, FAULTS, type Fault } from '../../../src/testing/faults/faultTable.js';
import { faultPlanSchema } from '../../../src/testing/faults/planSchema.js';
import type { FaultRule } from '../../../src/testing/faults/rule/FaultRule.js';
import { globMatches } from '../../../src/testing/faults/rule/glob.js';

const call = (tool = 'echo', more: object = {}) => ({
  server: 's',
  method: 'tools/call',
  params: { name: tool, ...more },
});
const fates = (plan: FaultPlan, calls: number, tool = 'echo'): (Fault | undefined)[] =>
  Array.from({ length: calls }, () => plan.next(call(tool))?.fault);

test('of the rules that are due the first wins, and each counts its own calls', () => {
  const plan = new FaultPlan({
    rules: [
      { tool: 'echo', nth: 3, fault: 'crash' },
      { tool: 'e*', every: 2, fault: 'error' },
    ],
  });
  expect(fates(plan, 6)).toEqual([undefined, 'error', 'crash', 'error', undefined, 'error']);
  expect(fates(plan, 2, 'sleep')).toEqual([undefined, undefined]);
  expect(plan.counts).toEqual({ crash: 1, error: 3 });
});

test('when: first, after, times, every, probability', () => {
  const when = (rule: Partial<FaultRule>, calls: number): string =>
    fates(new FaultPlan({ rules: [{ fault: 'drop', ...rule }] }), calls)
      .map((fault) => (fault === undefined ? '.' : 'x'))
      .join('');
  expect(when({ first: 2 }, 4)).toBe('xx..');
  expect(when({ after: 2 }, 4)).toBe('..xx');
  expect(when({ times: 1 }, 4)).toBe('x...');
  expect(when({ after: 1, every: 2 }, 6)).toBe('..x.x.');
  expect(when({ after: 1, every: 2, times: 1 }, 6)).toBe('..x...');
  const hits = [...when({ probability: 0.25 }, 4_000)].filter((each) => each === 'x').length;
  expect(hits).toBeGreaterThan(900);
  expect(hits).toBeLessThan(1_100);
  expect(when({ probability: 0 }, 10)).toBe('..........');
});

test('for a time: from the first call that is due', async () => {
  const clock = new FakeClock();
  const plan = new FaultPlan({ rules: [{ fault: 'drop', after: 1, forMs: 100 }] }, { clock });
  expect(fates(plan, 2)).toEqual([undefined, 'drop']);
  await clock.advance(99);
  expect(fates(plan, 1)).toEqual(['drop']);
  await clock.advance(1);
  expect(fates(plan, 1)).toEqual([undefined]);
});

test('which: server, method, tool, URI, params and caller', () => {
  const hit = (rule: Partial<FaultRule>, subject: object): boolean =>
    new FaultPlan({ rules: [{ fault: 'drop', ...rule }] }).next({ ...call(), ...subject }) !== undefined;
  expect(hit({ server: 's*' }, {})).toBe(true);
  expect(hit({ server: 't*' }, {})).toBe(false);
  expect(hit({ uri: 'file:///tmp/*' }, { method: 'resources/read', params: { uri: 'file:///tmp/a/b' } })).toBe(true);
  expect(hit({ uri: 'file:///tmp/*' }, { method: 'resources/read', params: { uri: 'http://tmp/' } })).toBe(false);
  expect(
    hit({ params: { arguments: { text: 'a*', n: 1 } } }, { params: { arguments: { text: 'ab', n: 1, m: 2 } } }),
  ).toBe(true);
  expect(hit({ params: { arguments: { n: 1 } } }, { params: { arguments: { n: 2 } } })).toBe(false);
  expect(hit({ params: (given) => (given as { name: string }).name === 'echo' }, {})).toBe(true);
  expect(hit({ caller: 'alice' }, { caller: 'alice' })).toBe(true);
  expect(hit({ caller: 'alice' }, { caller: 'bob' })).toBe(false);
  expect(hit({ caller: '*' }, {})).toBe(false);
  expect(hit({ method: 'tools/list' }, { method: 'tools/list', params: undefined })).toBe(true);
});

test('what nobody named is not befallen: lists, pings and handshakes spend neither rules nor draws', () => {
  const plan = new FaultPlan({ seed: 3, ratios: { error: 0.5 }, rules: [{ fault: 'crash', nth: 2 }] });
  const twin = new FaultPlan({ seed: 3, ratios: { error: 0.5 }, rules: [{ fault: 'crash', nth: 2 }] });
  const seen: unknown[] = [];
  for (let n = 0; n < 50; n++) {
    for (const method of ['tools/list', 'ping', 'initialize'])
      expect(plan.next({ server: 's', method })).toBeUndefined();
    seen.push(plan.next(call())?.fault);
  }
  expect(seen).toEqual(fates(twin, 50));
  const silent = new FaultPlan({
    rules: [{ fault: 'silentPing' }, { fault: 'endlessCursor' }, { fault: 'silentUnknown' }],
  });
  expect(silent.next({ server: 's', method: 'ping' })?.fault).toBe('silentPing');
  expect(silent.next({ server: 's', method: 'prompts/list' })?.fault).toBe('endlessCursor');
  expect(silent.next({ server: 's', method: 'no/such' })?.fault).toBe('silentUnknown');
  expect(silent.next(call())).toBeUndefined();
});

test('a fault of another transport befalls nothing there', () => {
  const plan = new FaultPlan({ rules: [{ fault: 'status', status: 503 }] });
  expect(plan.next({ ...call(), wire: 'stdio' })).toBeUndefined();
  expect(plan.next({ ...call(), wire: 'http' })?.fault).toBe('status');
});

test('the same seed gives the same faults; another seed others; JSON is a round trip', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const options = {
        seed,
        ratios: { drop: 0.2, error: 0.2 },
        rules: [{ fault: 'crash' as const, probability: 0.3 }],
      };
      const plan = new FaultPlan(options);
      const again = new FaultPlan(JSON.parse(JSON.stringify(plan)));
      expect(fates(again, 100)).toEqual(fates(plan, 100));
      expect(again.toJSON()).toEqual(plan.toJSON());
    }),
    { numRuns: 50 },
  );
  const of = (seed: number) => fates(new FaultPlan({ seed, ratios: { drop: 0.5 } }), 64).map(Boolean);
  expect(of(1)).not.toEqual(of(2));
});

test('its string says the seed, what came, and how to replay; a failing assertion says it too', async () => {
  const plan = new FaultPlan({ seed: 42, rules: [{ fault: 'error', nth: 1 }] });
  plan.next(call());
  expect(String(plan)).toContain('seed 42');
  expect(String(plan)).toContain('error 1');
  const source = /replay: new FaultPlan\((.*)\)$/.exec(String(plan))?.[1] ?? '';
  expect(fates(new FaultPlan(JSON.parse(source)), 2)).toEqual(['error', undefined]);
  await expect(plan.run(() => expect(1).toBe(2))).rejects.toThrow(/seed 42.*replay/s);
  await expect(plan.run(() => 7)).resolves.toBe(7);
  const odd = new FaultPlan({ rules: [{ fault: 'error', params: () => true }] });
  expect(String(odd)).toContain('seed 1');
  expect(() => odd.toJSON()).toThrow(/rules\[0\]\.params/);
});

test('rules are added, switched off and awaited while it runs', async () => {
  const plan = new FaultPlan({});
  const rule = plan.add({ fault: 'crash', tool: 'echo' });
  const heard: unknown[] = [];
  using _ = plan.on('injected', ({ fault, tool, rule }) => heard.push([fault, tool, rule]));
  const twice = plan.injected('crash', { times: 2 });
  plan.next(call());
  await plan.injected('crash');
  rule.disable();
  expect(fates(plan, 2)).toEqual([undefined, undefined]);
  expect(plan.toJSON().rules).toEqual([{ fault: 'crash', tool: 'echo', enabled: false }]);
  rule.enable();
  plan.next(call());
  await twice;
  expect(rule.injected).toBe(2);
  expect(heard).toEqual([
    ['crash', 'echo', 0],
    ['crash', 'echo', 0],
  ]);
  plan.pause();
  expect(fates(plan, 1)).toEqual([undefined]);
  plan.resume();
  expect(fates(plan, 1)).toEqual(['crash']);
});

test('a wait for an injection has an end: its time, or its signal', async () => {
  const clock = new FakeClock();
  const plan = new FaultPlan({ seed: 9 }, { clock });
  const late = expect(plan.injected('drop', { timeoutMs: 50 })).rejects.toThrow(/'drop' was not injected.*seed 9/);
  await clock.advance(50);
  await late;
  await expect(plan.injected('drop', { signal: AbortSignal.abort('enough') })).rejects.toBe('enough');
  expect(clock.armedTimers).toBe(0);
});

test('a listener that throws disturbs nothing', () => {
  const errors: unknown[] = [];
  const log = (fields: unknown): void => void errors.push(fields);
  const logger = { trace: log, debug: log, info: log, warn: log, error: log, fatal: log };
  const plan = new FaultPlan({ rules: [{ fault: 'drop' }] }, { logger });
  plan.on('injected', () => {
    throw new Error('oops');
  });
  expect(fates(plan, 1)).toEqual(['drop']);
  expect(errors).toHaveLength(1);
});

test('a plan in another process goes on where this one left off', () => {
  const options = { seed: 5, rules: [{ fault: 'crash' as const, nth: 3 }], ratios: { error: 0.3 } };
  const whole = fates(new FaultPlan(options), 20);
  const states: unknown[] = [];
  const first = new FaultPlan(options, { onState: (state) => states.push(JSON.parse(JSON.stringify(state))) });
  const before = fates(first, 2);
  const rest = fates(new FaultPlan(options, { state: states.at(-1) as never }), 18);
  expect([...before, ...rest]).toEqual(whole);
});

test('maxFaults bounds them all', () => {
  expect(fates(new FaultPlan({ maxFaults: 2, rules: [{ fault: 'drop' }] }), 4)).toEqual([
    'drop',
    'drop',
    undefined,
    undefined,
  ]);
});

test('starts are draws of their own', () => {
  const plan = new FaultPlan({ rules: [{ fault: 'refuse', server: 'a', nth: 2 }], ratios: { slowStart: 1 } });
  expect(plan.nextStart({ server: 'a' })?.fault).toBe('slowStart');
  expect(plan.nextStart({ server: 'a' })?.fault).toBe('refuse');
  expect(plan.next(call())).toBeUndefined();
});

// biome-ignore lint/suspicious/noExplicitAny: what is tested is exactly what the types forbid
const WRONG: readonly (readonly [any, RegExp])[] = [
  [{ rules: [{ fault: 'crash' }, {}, { fault: 'crash', nth: 0 }] }, /rules\[1\]\.fault/],
  [{ rules: [{ fault: 'crash' }, { fault: 'drop' }, { fault: 'crash', nth: 0 }] }, /rules\[2\]\.nth/],
  [{ rules: [{ fault: 'crsh' }] }, /rules\[0\]\.fault/],
  [{ rules: [{ fault: 'crash', tol: 'x' }] }, /rules\[0\]\.tol.*'tool'/],
  [{ rules: [{ fault: 'crash', status: 503 }] }, /rules\[0\]\.status.*setting of the fault 'crash'/],
  [{ rules: [{ fault: 'status', status: 42 }] }, /rules\[0\]\.status/],
  [{ rules: [{ fault: 'delay', delayMs: -1 }] }, /rules\[0\]\.delayMs/],
  [{ rules: [{ fault: 'delay', delayMs: { uniform: [5, 1] } }] }, /rules\[0\]\.delayMs\.uniform\[1\]/],
  [{ rules: [{ fault: 'delay', delayMs: { normal: 1 } }] }, /rules\[0\]\.delayMs/],
  [{ rules: [{ fault: 'refuse', tool: 'echo' }] }, /rules\[0\]\.tool/],
  [{ rules: [{ fault: 'drop', probability: 2 }] }, /rules\[0\]\.probability/],
  [{ rules: [7] }, /rules\[0\]/],
  [{ rules: {} }, /rules/],
  [{ ratios: { crash: 0.6, drop: 0.6 } }, /ratios/],
  [{ ratios: { crsh: 0.6 } }, /ratios/],
  [{ seed: 1.5 }, /seed/],
];
for (const [plan, message] of WRONG) {
  test(`a mistake is an OptionError with its place: ${JSON.stringify(plan)}`, () => {
    expect(() => new FaultPlan(plan)).toThrow(OptionError);
    expect(() => new FaultPlan(plan)).toThrow(message);
  });
}

test('a latency is drawn from the seed', () => {
  const drawn = (delayMs: never): number[] => {
    const plan = new FaultPlan({ seed: 1, rules: [{ fault: 'delay', delayMs }] });
    return Array.from({ length: 400 }, () => plan.next(call())?.delayMs ?? Number.NaN);
  };
  expect(new Set(drawn(7 as never))).toEqual(new Set([7]));
  const uniform = drawn({ uniform: [10, 20] } as never);
  expect([Math.min(...uniform) >= 10, Math.max(...uniform) < 20]).toEqual([true, true]);
  expect(new Set(uniform).size).toBeGreaterThan(300);
  const spikes = drawn({ spike: { ratio: 0.1, baseMs: 1, peakMs: 100 } } as never).filter((ms) => ms === 100).length;
  expect(spikes).toBeGreaterThan(15);
  expect(spikes).toBeLessThan(80);
  const sorted = drawn({ lognormal: { medianMs: 50, sigma: 0.5 } } as never).sort((a, b) => a - b);
  expect(sorted[200]).toBeGreaterThan(40);
  expect(sorted[200]).toBeLessThan(60);
  expect(sorted[399]).toBeGreaterThan(100);
});

test('globs: * and ? as in file names, without exponential cases', () => {
  expect(globMatches('a*b?d', 'axxbcd')).toBe(true);
  expect(globMatches('a*b?d', 'axxbd')).toBe(false);
  expect(globMatches('*', '')).toBe(true);
  expect(globMatches('', 'a')).toBe(false);
  expect(globMatches('*a*a*a*a*a*a*a*b', 'a'.repeat(5_000))).toBe(false);
});

test('the schema has every fault with exactly its settings', () => {
  const schema = faultPlanSchema() as { properties: { rules: { items: { anyOf: { properties: object }[] } } } };
  const shapes = schema.properties.rules.items.anyOf;
  expect(shapes).toHaveLength(FAULT_NAMES.length);
  for (const [n, name] of FAULT_NAMES.entries()) {
    const { properties } = shapes[n] as { properties: Record<string, unknown> };
    expect(properties['fault']).toEqual({ const: name });
    for (const setting of FAULTS[name].settings) expect(properties).toHaveProperty(setting);
  }
  expect(JSON.parse(JSON.stringify(schema))).toEqual(schema);
});

test('the guide has a row for every fault, as the table says it', () => {
  const guide = readFileSync(resolve(import.meta.dirname, '../../../docs/faults.md'), 'utf8');
  for (const [name, { wires, shows, answer }] of Object.entries(FAULTS)) {
    expect(guide).toContain(`| \`${name}\` | ${wires.join(', ')} |`);
    expect(guide).toContain(`| ${shows} | ${answer} |`);
  }
});

test('a state or events that cannot be kept are logged, the events once; the plan goes on', () => {
  const errors: string[] = [];
  const logger = failureLogger((error, what) => errors.push(`${what}: ${messageOf(error)}`));
  const onState = () => {
    throw new Error('planted');
  };
  const plan = new FaultPlan({ rules: [{ fault: 'error' }] }, { logger, onState });
  expect(fates(plan, 1)).toEqual(['error']);
  const log = new EventLog({ eventsFile: '/dev/full', logger });
  log.tell({ type: 'note', atMs: 1, text: 'a' } as never);
  log.tell({ type: 'note', atMs: 2, text: 'b' } as never);
  expect(log.events).toHaveLength(2);
  expect(errors).toEqual([
    'the state of a fault plan cannot be kept: planted',
    expect.stringMatching(/^fault events cannot be written: ENOSPC/),
  ]);
});
