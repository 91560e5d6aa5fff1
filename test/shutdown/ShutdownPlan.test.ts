import { expect, test } from 'vitest';
import type { Logger } from '../../src/core/logger.js';
import { ClosedError, OptionError } from '../../src/errors.js';
import { type ShutdownPhase, ShutdownPlan, withTimeout } from '../../src/shutdown/index.js';
import { FakeClock } from '../../src/testing/FakeClock.js';

const hang = (): Promise<never> => new Promise(() => undefined);

function recorder(): { readonly lines: string[]; readonly logger: Logger } {
  const lines: string[] = [];
  const at = (level: string) => (fields: object | string, message?: string) =>
    void lines.push(`${level}: ${message ?? String(fields)}`);
  const [trace, debug, info, warn, error] = ['trace', 'debug', 'info', 'warn', 'error'].map(at) as Logger['info'][];
  return { lines, logger: { trace, debug, info, warn, error } as Logger };
}

test('hooks and phases run in their order, steps of a phase in parallel', async () => {
  const plan = new ShutdownPlan({ clock: new FakeClock() });
  const ran: string[] = [];
  const note = (what: string) => (): void => void ran.push(what);
  const phases: readonly ShutdownPhase[] = ['release', 'background', 'close', 'drain', 'streams', 'refuse', 'unready'];
  plan.afterStop(note('after 1'));
  plan.afterStop(note('after 2'));
  for (const phase of phases) plan.add(phase, note(phase), { phase });
  plan.add('close too', note('close too'));
  plan.beforeStop(note('before 1'));
  plan.beforeStop(note('before 2'));
  const report = await plan.shutdown('test');
  expect(ran).toEqual([
    ...['before 1', 'before 2', 'unready', 'refuse', 'streams', 'drain', 'close', 'close too'],
    ...['background', 'release', 'after 1', 'after 2'],
  ]);
  expect(report).toMatchObject({ reason: 'test', exitCode: 0, ok: true, stillRunning: [], error: undefined });
  expect(() => report.throwIfFailed()).not.toThrow();
});

test('the plan is stopping from the first moment, and everyone gets one promise', async () => {
  const plan = new ShutdownPlan({ clock: new FakeClock() });
  let inside: Promise<unknown> | undefined;
  plan.add('re-enters', () => {
    inside = plan.shutdown('inner');
    expect(plan.phase).toBe('close');
  });
  expect([plan.stopping, plan.signal.aborted, plan.phase]).toEqual([false, false, undefined]);
  const done = plan.shutdown('outer');
  expect([plan.stopping, plan.signal.aborted]).toEqual([true, true]);
  expect(plan.shutdown()).toBe(done);
  expect((await done).reason).toBe('outer');
  expect(inside).toBe(done);
  expect(plan.phase).toBeUndefined();
});

test('after orders steps inside a phase, however they were added; circles and later phases are refused', async () => {
  const plan = new ShutdownPlan({ clock: new FakeClock() });
  const ran: string[] = [];
  const note = (what: string) => (): void => void ran.push(what);
  plan.add('c', note('c'), { after: ['b', 'a'] });
  plan.add('b', note('b'), { after: 'a' });
  expect(() => plan.add('a', note('a'), { after: 'c' })).toThrow(/circle.*a -> c -> (b -> )?a/);
  expect(() => plan.add('a', note('a'), { after: 'a' })).toThrow(/a -> a/);
  expect(() => plan.add('a', note('a'), { phase: 'release' })).toThrow(OptionError);
  plan.add('a', note('a'));
  expect(() => plan.add('a', note('a'))).toThrow(/no other step/);
  expect(() => plan.add('early', note('early'), { phase: 'drain', after: 'a' })).toThrow(/phase drain or earlier/);
  await plan.shutdown();
  expect(ran).toEqual(['a', 'b', 'c']);
});

test('a step can be taken out before it begins', async () => {
  const plan = new ShutdownPlan({ clock: new FakeClock() });
  let ran = 0;
  plan.add('gone', () => ran++)[Symbol.dispose]();
  const later = plan.add('later', () => ran++, { phase: 'release' });
  plan.add('takes it out', () => later[Symbol.dispose]());
  const report = await plan.shutdown();
  expect(ran).toBe(0);
  expect(report.steps.map((step) => step.name)).toEqual(['takes it out']);
});

test('a step added during shutdown runs in a phase that is not over, and is refused in one that is', async () => {
  const plan = new ShutdownPlan({ clock: new FakeClock() });
  const ran: string[] = [];
  plan.add('adds', async () => {
    plan.add('later', () => ran.push('later'), { phase: 'release' });
    plan.add('now', () => ran.push('now'));
    expect(() => plan.add('past', () => ran.push('past'), { phase: 'drain' })).toThrow(ClosedError);
    await Promise.resolve();
    ran.push('adds');
  });
  await plan.shutdown();
  expect(ran).toEqual(['now', 'adds', 'later']);
  expect(() => plan.add('too late', () => undefined, { phase: 'release' })).toThrow(ClosedError);
  expect(() => plan.afterStop(() => undefined)).toThrow(ClosedError);
});

test('steps that add steps without end leave the event loop its turns, and come to theirs', async () => {
  const plan = new ShutdownPlan({ clock: new FakeClock() });
  let ran = 0;
  let turns = 0;
  const turn = (): void => {
    turns++;
    if (plan.phase !== undefined) setImmediate(turn);
  };
  const more = async (): Promise<void> => {
    // A plan that takes them all would never come back.
    if (++ran === 2_000) return;
    if (ran === 1) turn();
    plan.add(`step ${ran}`, more);
  };
  plan.add('first', more);
  const report = await plan.shutdown();
  expect([ran, report.exitCode]).toEqual([1_001, 1]);
  expect(report.error?.errors).toEqual([new ClosedError('shutdown plan (1000 steps were added during the shutdown)')]);
  expect(turns).toBeGreaterThan(9);
});

test('a shutdown that is forced while steps add steps has an end', async () => {
  const plan = new ShutdownPlan({ clock: new FakeClock() });
  let ran = 0;
  let atForce = 0;
  const more = async (): Promise<void> => {
    if (++ran === 2_000) return;
    plan.add(`step ${ran}`, more);
  };
  plan.add('first', () => {
    setImmediate(() => {
      atForce = ran;
      void plan.force('second signal');
    });
    return more();
  });
  const report = await plan.shutdown();
  expect(atForce).toBeGreaterThan(0);
  // One was added before.
  expect(ran - atForce).toBe(1 + 100);
  expect(report.error?.errors).toEqual([new ClosedError('shutdown plan (100 steps were added after its time)')]);
});

test('everything is attempted, errors are joined and logged, and what is not critical does not fail the whole', async () => {
  const { lines, logger } = recorder();
  const clock = new FakeClock();
  const plan = new ShutdownPlan({ clock, logger });
  const boom = new Error('boom');
  plan.add('throws', () => {
    throw boom;
  });
  plan.add('rejects', async () => Promise.reject(new Error('bang')), { phase: 'drain' });
  plan.add('minor', () => Promise.reject(new Error('meh')), { critical: false });
  plan.add('hangs', hang, { phase: 'background', timeoutMs: 100 });
  let released = false;
  plan.add('database', () => {
    released = true;
  });
  const done = plan.shutdown('SIGTERM');
  await clock.advance(100);
  const report = await done;
  expect(released).toBe(true);
  expect(report.exitCode).toBe(1);
  expect(report.error?.errors).toHaveLength(3);
  expect(report.error?.errors).toContain(boom);
  expect(report.stillRunning).toEqual(['hangs']);
  expect(() => report.throwIfFailed()).toThrow(AggregateError);
  expect(report.steps.find((step) => step.name === 'minor')).toMatchObject({ outcome: 'failed', critical: false });
  expect(lines.filter((line) => line.startsWith('error: shutdown step'))).toHaveLength(3);
  expect(lines.filter((line) => line.startsWith('warn: shutdown step'))).toHaveLength(1);
  expect(String(report)).toMatch(/shutdown \(SIGTERM\): 100 of 30000 ms, exit code 1; still running: hangs\n/);
  expect(String(report)).toMatch(/close +throws +failed +0 ms +boom/);
});

test('a hanging step takes its own time, is told, and cannot take what others need', async () => {
  const clock = new FakeClock();
  const plan = new ShutdownPlan({ clock, totalMs: 16_000 });
  let told: unknown;
  const listens = ({ signal }: { readonly signal: AbortSignal }): Promise<never> => {
    signal.addEventListener('abort', () => {
      told = signal.reason;
    });
    return hang();
  };
  plan.add('hangs', listens, { phase: 'drain', timeoutMs: Infinity });
  const graces: unknown[] = [];
  const pool = {
    close: (options?: { readonly graceMs?: number }) => {
      graces.push(options?.graceMs);
      return hang();
    },
  };
  plan.add('pool', pool);
  plan.add('files', () => undefined, { phase: 'release' });
  const done = plan.shutdown();
  await clock.advance(16_000);
  const report = await done;
  // Of 16 s, five are kept for closing and one for the release.
  expect(report.steps.map((step) => [step.name, step.ms, step.outcome])).toEqual([
    ['hangs', 10_000, 'timeout'],
    ['pool', 5_000, 'timeout'],
    ['files', 0, 'ok'],
  ]);
  expect(told).toMatchObject({ code: 'ERR_SHUTDOWN_TIMEOUT', what: 'hangs' });
  expect(graces).toEqual([5_000 / 3, 0]);
});

test('a part in the drain phase gets nearly all of its time for its work, or what graceMs says', async () => {
  const clock = new FakeClock();
  const plan = new ShutdownPlan({ clock });
  const graces: unknown[] = [];
  const part = { close: async (options?: { readonly graceMs?: number }) => void graces.push(options?.graceMs) };
  plan.add('calls', part, { phase: 'drain', timeoutMs: 10_000 });
  plan.add('pool', part, { timeoutMs: 6_000 });
  plan.add('other', part, { timeoutMs: 6_000, graceMs: 50_000 });
  await plan.shutdown();
  expect(graces).toEqual([9_000, 2_000, 6_000]);
});

test('readiness goes off, then the process serves on while that spreads', async () => {
  const clock = new FakeClock();
  const plan = new ShutdownPlan({ clock, propagationDelayMs: 5_000 });
  const at: [string, number][] = [];
  plan.add('ready off', () => at.push(['ready off', clock.now()]), { phase: 'unready' });
  plan.add('refuse', () => at.push(['refuse', clock.now()]), { phase: 'refuse' });
  const done = plan.shutdown();
  await clock.advance(2_000);
  expect(plan.phase).toBe('unready');
  // It begins at once, and the phase waits for it too.
  const slow = (): Promise<void> => {
    at.push(['one more', clock.now()]);
    return new Promise((resolve) => void clock.setTimer(resolve, 4_000));
  };
  plan.add('one more', slow, { phase: 'unready' });
  await clock.advance(4_000);
  const report = await done;
  expect(at).toEqual([
    ['ready off', 0],
    ['one more', 2_000],
    ['refuse', 6_000],
  ]);
  expect(report.steps.map((step) => step.name)).toContain('propagation delay');
});

test('force ends the delay and what hangs, still attempts the rest, and sets the exit code', async () => {
  const clock = new FakeClock();
  const plan = new ShutdownPlan({ clock, propagationDelayMs: 10_000 });
  plan.add('hangs', hang, { phase: 'drain' });
  plan.add('hangs too', hang);
  let ran = false;
  plan.add('files', () => {
    ran = true;
  });
  const done = plan.shutdown('SIGTERM');
  await clock.advance(1_000);
  expect(plan.force('SIGTERM', { withinMs: 1_000, exitCode: 143 })).toBe(done);
  await clock.advance(1_000);
  const report = await done;
  expect(ran).toBe(true);
  expect(report).toMatchObject({ forced: true, exitCode: 143, stillRunning: ['hangs', 'hangs too'] });
  expect(report.ms).toBeLessThanOrEqual(2_000);
});

test('a cause that comes with the shutdown, or while it runs, fails it', async () => {
  const plan = new ShutdownPlan({ clock: new FakeClock() });
  const [first, second] = [new Error('first'), new Error('second')];
  plan.add('step', () => void plan.shutdown('again', { cause: second }));
  const report = await plan.shutdown('uncaughtException', { cause: first });
  expect(String(report)).toContain(`\n  cause: ${first.message}\n  cause: ${second.message}\n`);
  expect(report.error?.errors).toEqual([first, second]);
  expect(report.exitCode).toBe(1);
});

test('a logger that fails, as a closed one may, stops nothing', async () => {
  const fails = (): never => {
    throw new Error('logger is closed');
  };
  const logger: Logger = { trace: fails, debug: fails, info: fails, warn: fails, error: fails };
  const plan = new ShutdownPlan({ clock: new FakeClock(), logger });
  plan.add('step', () => undefined);
  expect((await plan.shutdown()).exitCode).toBe(0);
});

test('a name that no step has is waited for by nobody, and said', async () => {
  const { lines, logger } = recorder();
  const plan = new ShutdownPlan({ clock: new FakeClock(), logger });
  plan.add('step', () => undefined, { after: 'tpyo' });
  expect((await plan.shutdown()).ok).toBe(true);
  expect(lines).toContain('warn: no step of this name to wait for');
});

test('what a timed-out part names is in the report too', async () => {
  const clock = new FakeClock();
  const plan = new ShutdownPlan({ clock });
  plan.add('pool', async () => {
    throw new AggregateError([await withTimeout('server "a"', hang, { timeoutMs: 5, clock }).catch((e: unknown) => e)]);
  });
  const done = plan.shutdown();
  await clock.advance(5);
  expect((await done).stillRunning).toEqual(['pool: server "a"']);
});

test('bad options are refused by name', () => {
  expect(() => new ShutdownPlan({ totalMs: 0 })).toThrow(/totalMs/);
  expect(() => new ShutdownPlan({ totalMs: 100, propagationDelayMs: 100 })).toThrow(/propagationDelayMs/);
  const plan = new ShutdownPlan();
  expect(() => plan.add('', () => undefined)).toThrow(/name/);
  expect(() => plan.add('x', {} as never)).toThrow(/step/);
  expect(() => plan.add('x', () => undefined, { phase: 'later' as never })).toThrow(/phase/);
  expect(() => plan.add('x', () => undefined, { timeoutMs: -1 })).toThrow(/timeoutMs/);
  expect(() => plan.add('propagation delay', () => undefined)).toThrow(/another name/);
  expect(() => plan.listen({ forceMs: -1 })).toThrow(/forceMs/);
});

test('await using shuts down, and throws what failed', async () => {
  const plan = new ShutdownPlan({ clock: new FakeClock() });
  plan.add('throws', () => {
    throw new Error('boom');
  });
  await expect(plan[Symbol.asyncDispose]()).rejects.toThrow(/boom/);
});

test('withTimeout resolves, rejects with the part’s own error, or with what did not end', async () => {
  const clock = new FakeClock();
  const graces: unknown[] = [];
  const part = (result: Promise<void>) => ({
    close: (options?: { readonly graceMs?: number }) => {
      graces.push(options?.graceMs);
      return result;
    },
  });
  await withTimeout('pool', part(Promise.resolve()), { timeoutMs: 30_000, clock });
  await expect(
    withTimeout('pool', part(Promise.reject(new Error('no'))), { timeoutMs: 300, graceMs: 200, clock }),
  ).rejects.toThrow('no');
  expect(graces).toEqual([5_000, 200]);
  const late = withTimeout('pool', part(hang()), { timeoutMs: 300, clock });
  const check = expect(late).rejects.toMatchObject({ code: 'ERR_SHUTDOWN_TIMEOUT', what: 'pool', timeoutMs: 300 });
  await clock.advance(300);
  await check;
  expect(graces.slice(2)).toEqual([100, 0]);
  expect(clock.armedTimers).toBe(0);
});

test('a start, a step and a cause may fail with what cannot be looked at: the shutdown reports, and steers no terminal', async () => {
  const trap = (): never => {
    throw new Error('trap');
  };
  const nasty = new Proxy({}, { get: trap, getPrototypeOf: trap });
  const plan = new ShutdownPlan({ clock: new FakeClock() });
  plan.add('red \u001b[31m\nline', () => {
    throw new Error('\u001b[2J clears\r');
  });
  plan.add('nasty', () => Promise.reject(nasty));
  await plan.start(() => Promise.reject(nasty));
  const report = await plan.shutdown();
  expect(report.exitCode).toBe(1);
  expect(report.error?.errors).toHaveLength(3);
  const text = String(report);
  expect(text.split('\n')).toHaveLength(4);
  expect(text).toContain('red \\u001b[31m\\nline');
  expect(text).toContain('\\u001b[2J clears\\u000d');
  expect(text).toContain('something was thrown that cannot be looked at');
});
