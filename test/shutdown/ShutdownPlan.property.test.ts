import assert from 'node:assert/strict';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  SHUTDOWN_PHASES,
  type ShutdownPhase,
  ShutdownPlan,
  type ShutdownReport,
  type ShutdownTarget,
} from '../../src/shutdown/index.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { RUNS } from '../support/runs.js';

type Deed = 'ok' | 'throw' | 'hang' | 'slow' | 'slowThrow';

interface StepModel {
  readonly name: string;
  readonly phase: number;
  readonly deed: Deed;
  readonly ms: number;
  readonly closeable: boolean;
  readonly critical: boolean;
  readonly timeoutMs: number;
  /** Indexes of other steps; those that would be refused are left out below. */
  readonly after: readonly number[];
}

const steps = fc
  .array(
    fc.record({
      phase: fc.nat(SHUTDOWN_PHASES.length - 1),
      deed: fc.constantFrom<Deed>('ok', 'throw', 'hang', 'slow', 'slowThrow'),
      ms: fc.integer({ min: 0, max: 3_000 }),
      closeable: fc.boolean(),
      critical: fc.boolean(),
      timeoutMs: fc.constantFrom(0, 10, 100, 1_000, Number.POSITIVE_INFINITY),
      after: fc.array(fc.nat(11), { maxLength: 3 }),
    }),
    { maxLength: 12 },
  )
  .map((all) => all.map((step, i): StepModel => ({ ...step, name: `step ${i}` })));

const phaseOf = (step: StepModel): ShutdownPhase => SHUTDOWN_PHASES[step.phase] as ShutdownPhase;

interface Event {
  readonly step: string;
  readonly what: 'begin' | 'settle';
  readonly atMs: number;
}

function targetOf(step: StepModel, clock: FakeClock, events: Event[]): ShutdownTarget {
  const note = (what: Event['what']): void => void events.push({ step: step.name, what, atMs: clock.now() });
  let begun: Promise<void> | undefined;
  const deed = (): Promise<void> => {
    note('begin');
    if (step.deed === 'throw') throw new Error(`${step.name} threw`);
    if (step.deed === 'ok') return Promise.resolve();
    if (step.deed === 'hang') return new Promise(() => undefined);
    return new Promise((resolve, reject) => {
      clock.setTimer(() => {
        note('settle');
        if (step.deed === 'slow') resolve();
        else reject(new Error(`${step.name} rejected`));
      }, step.ms);
    });
  };
  if (!step.closeable) return deed;
  return {
    close: () => {
      begun ??= deed();
      return begun;
    },
  };
}

async function run(all: readonly StepModel[], totalMs: number, delayMs: number) {
  const clock = new FakeClock();
  const plan = new ShutdownPlan({ clock, totalMs, propagationDelayMs: delayMs });
  const events: Event[] = [];
  const waitsFor = new Map<string, readonly string[]>();
  for (const step of all) {
    const name = step.name;
    const wanted = step.after.flatMap((i) => all[i] ?? []).filter((other) => other.phase <= step.phase);
    const options = { phase: phaseOf(step), timeoutMs: step.timeoutMs, critical: step.critical } as const;
    const target = targetOf(step, clock, events);
    const after = wanted.map((other) => other.name);
    try {
      plan.add(name, target, { ...options, after });
      waitsFor.set(name, after);
    } catch (error) {
      // A circle, or a step of a later phase that an earlier one waits for.
      expect(error).toMatchObject({ code: 'ERR_OPTION', option: 'after' });
      waitsFor.set(name, []);
      plan.add(name, target, options);
    }
  }
  let report: ShutdownReport | undefined;
  const done = plan.shutdown('property').then((result) => {
    report = result;
  });
  expect(plan.shutdown('again')).toBe(plan.shutdown());
  await clock.advance(totalMs + 0.001);
  expect(report).toBeDefined();
  await done;
  // Abandoned slow ones settle after all, and nobody minds.
  await clock.advance(4_000);
  expect(clock.armedTimers).toBe(0);
  return { report: report as unknown as ShutdownReport, events, waitsFor };
}

test('any steps: the order is kept, each is attempted once, the budget holds, and the report tells all', () =>
  fc.assert(
    fc.asyncProperty(
      steps,
      fc.integer({ min: 1, max: 5_000 }),
      fc.double({ min: 0, max: 0.9, noNaN: true }),
      async (all, totalMs, delayRatio) => {
        const delayMs = totalMs * delayRatio;
        const { report, events, waitsFor } = await run(all, totalMs, delayMs);

        assert(report.ms <= totalMs + 0.001);
        const begins = events.filter((event) => event.what === 'begin').map((event) => event.step);
        assert.deepEqual([...begins].sort(), all.map((step) => step.name).sort());

        const lines = new Map(report.steps.map((line) => [line.name, line]));
        assert.deepEqual([...lines.keys()].filter((name) => name !== 'propagation delay').sort(), [...begins].sort());
        assert.equal(report.steps.length, lines.size);
        assert.equal(lines.has('propagation delay'), delayMs > 0);

        for (const step of all) {
          const line = lines.get(step.name);
          if (line === undefined) throw new Error(`${step.name} is not in the report`);
          assert.equal(line.phase, phaseOf(step));
          assert(line.ms <= Math.min(step.timeoutMs, totalMs) + 0.001);
          if (step.deed === 'ok') assert.equal(line.outcome, 'ok');
          if (step.deed === 'throw') assert.equal(line.outcome, 'failed');
          if (step.deed === 'hang') assert.equal(line.outcome, 'timeout');
          if (line.outcome === 'timeout') {
            expect(line.error).toMatchObject({ code: 'ERR_SHUTDOWN_TIMEOUT', what: step.name });
          } else if (step.deed.startsWith('slow')) {
            assert.equal(line.outcome, step.deed === 'slow' ? 'ok' : 'failed');
            expect(line.ms).toBeCloseTo(step.ms, 3);
          }
          const before = all.filter(
            (other) => other.phase < step.phase || (waitsFor.get(step.name) ?? []).includes(other.name),
          );
          for (const other of before) {
            const end = lines.get(other.name);
            if (end === undefined) throw new Error(`${other.name} is not in the report`);
            assert(line.startedMs >= end.startedMs + end.ms - 0.001);
            assert(begins.indexOf(step.name) > begins.indexOf(other.name));
          }
        }

        const failed = report.steps.filter((line) => line.critical && line.outcome !== 'ok');
        assert.equal(report.exitCode, failed.length === 0 ? 0 : 1);
        assert.deepEqual(
          report.error?.errors ?? [],
          failed.map((line) => line.error),
        );
        expect([...report.stillRunning].sort()).toEqual(
          report.steps
            .filter((line) => line.outcome === 'timeout')
            .map((line) => line.name)
            .sort(),
        );
      },
    ),
    { numRuns: RUNS },
  ));

test('a hanging step never starves the phases after it', () =>
  fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 100, max: 60_000 }),
      fc.uniqueArray(fc.nat(SHUTDOWN_PHASES.length - 1), { minLength: 2 }),
      async (totalMs, phases) => {
        const clock = new FakeClock();
        const plan = new ShutdownPlan({ clock, totalMs });
        const had = new Map<number, number>();
        for (const phase of phases) {
          const hang = ({ timeoutMs }: { readonly timeoutMs: number }): Promise<never> => {
            had.set(phase, timeoutMs);
            return new Promise(() => undefined);
          };
          plan.add(`hang ${phase}`, hang, { phase: SHUTDOWN_PHASES[phase] as 'close', timeoutMs: Infinity });
        }
        const done = plan.shutdown();
        await clock.advance(totalMs + 0.001);
        expect((await done).stillRunning.length).toBe(phases.length);
        for (const [phase, ms] of had) {
          const kept = SHUTDOWN_PHASES[phase] === 'close' ? 5 : 1;
          expect(ms).toBeGreaterThanOrEqual((totalMs * kept) / 16 - 0.001);
        }
      },
    ),
    { numRuns: RUNS },
  ));
