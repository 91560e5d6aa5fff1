import assert from 'node:assert/strict';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CircuitBreaker } from '../../../src/concurrent/index.js';
import { CircuitOpenError } from '../../../src/errors.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

interface ModelCall {
  readonly period: number;
  readonly startedMs: number;
  over: boolean;
}

/** A breaker as the docs tell it, by keeping everything that ever happened and counting it anew each time. */
class Model {
  readonly rules;
  readonly ended: { readonly atMs: number; readonly failed: boolean; readonly slow: boolean }[] = [];
  calls: ModelCall[] = [];
  state: 'closed' | 'open' | 'half-open' = 'closed';
  period = 0;
  row = 0;
  round = 0;
  untilMs = 0;
  won = 0;

  constructor(rules: Rules) {
    this.rules = rules;
  }

  get trying(): number {
    return this.calls.filter((call) => call.period === this.period && !call.over).length;
  }

  to(state: Model['state']): void {
    this.state = state;
    this.period++;
    this.won = 0;
    if (state === 'closed') {
      this.ended.length = 0;
      this.row = 0;
      this.round = 0;
    }
  }

  open(nowMs: number): void {
    this.round++;
    this.to('open');
    this.untilMs = nowMs + Math.min(this.rules.maxResetMs, this.rules.resetMs * 2 ** (this.round - 1));
  }

  enter(nowMs: number): ModelCall | undefined {
    if (this.state === 'open' && nowMs >= this.untilMs) {
      this.untilMs = nowMs + Math.min(this.rules.maxResetMs, this.rules.resetMs * 2 ** (this.round - 1));
      this.to('half-open');
    } else if (this.state === 'open') return undefined;
    else if (this.state === 'half-open' && this.trying + this.won >= this.rules.halfOpenProbes) {
      if (nowMs < this.untilMs) return undefined;
      this.untilMs = nowMs + Math.min(this.rules.maxResetMs, this.rules.resetMs * 2 ** (this.round - 1));
    }
    const call = { period: this.period, startedMs: nowMs, over: false };
    this.calls.push(call);
    return call;
  }

  end(call: ModelCall, how: 'good' | 'bad' | 'nothing', nowMs: number): void {
    if (call.over) return;
    const current = call.period === this.period;
    call.over = true;
    if (!current) return;
    const slow = nowMs - call.startedMs >= this.rules.slowCallMs;
    if (this.state === 'half-open') {
      if (how === 'nothing') {
        if (this.trying === 0 && this.won === 0) {
          this.to('open');
          this.untilMs = nowMs;
        }
      } else if (how === 'bad' || slow) this.open(nowMs);
      else if (++this.won >= this.rules.halfOpenProbes) this.to('closed');
      return;
    }
    if (how === 'nothing') return;
    this.row = how === 'bad' ? this.row + 1 : 0;
    this.ended.push({ atMs: nowMs, failed: how === 'bad', slow });
    const part = this.rules.windowMs / 10;
    const recent = this.ended.filter(({ atMs }) => Math.floor(nowMs / part) - Math.floor(atMs / part) < 10);
    const share = (which: (each: (typeof recent)[number]) => boolean): number =>
      recent.length < this.rules.minCalls ? -1 : recent.filter(which).length / recent.length;
    if (
      this.row >= this.rules.threshold ||
      share((each) => each.failed) >= this.rules.failureRatio ||
      share((each) => each.slow) >= this.rules.slowCallRatio
    ) {
      this.open(nowMs);
    }
  }
}

const rulesOf = fc.record({
  threshold: fc.constantFrom(1, 3, Number.POSITIVE_INFINITY),
  failureRatio: fc.constantFrom(0.3, 0.6, Number.POSITIVE_INFINITY),
  slowCallMs: fc.constantFrom(30, Number.POSITIVE_INFINITY),
  slowCallRatio: fc.constantFrom(0.4, 1),
  minCalls: fc.constantFrom(1, 4),
  windowMs: fc.constant(200),
  resetMs: fc.constant(50),
  maxResetMs: fc.constantFrom(50, 180),
  halfOpenProbes: fc.constantFrom(1, 2, 3),
});
type Rules = typeof rulesOf extends fc.Arbitrary<infer R> ? R : never;

const stepOf = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ do: 'enter' } as const) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('end' as const),
      which: fc.nat(),
      how: fc.constantFrom('good', 'bad', 'bad', 'nothing'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 60 }) }) },
);

test('lets in, refuses and changes state as the model does, whatever comes', async () => {
  await fc.assert(
    fc.asyncProperty(rulesOf, fc.array(stepOf, { maxLength: 120, size: 'max' }), async (rules, steps) => {
      const clock = new FakeClock();
      const bad = new Error('bad');
      const breaker = new CircuitBreaker({
        ...rules,
        clock,
        isFailure: (error) => error === bad,
        isAnswer: () => false,
      });
      const model = new Model(rules);
      const running: { readonly ticket: ReturnType<CircuitBreaker['enter']>; readonly call: ModelCall }[] = [];
      for (const step of steps) {
        if (step.do === 'wait') await clock.advance(step.ms);
        else if (step.do === 'enter') {
          const call = model.enter(clock.now());
          if (call === undefined) expect(() => breaker.enter()).toThrow(CircuitOpenError);
          else running.push({ ticket: breaker.enter(), call });
        } else if (running.length > 0) {
          const [{ ticket, call }] = running.splice(step.which % running.length, 1) as [(typeof running)[number]];
          model.end(call, step.how as 'good', clock.now());
          if (step.how === 'good') breaker.succeeded(ticket);
          else if (step.how === 'bad') breaker.failed(ticket, bad);
          else if (step.which % 2 === 0) breaker.abandoned(ticket);
          else breaker.failed(ticket, new Error('says nothing'));
        }
        // `assert`, which costs a hundredth of `expect`: there are 30,000 of them.
        assert.equal(breaker.state, model.state);
        const until = model.state === 'closed' ? 0 : Math.max(0, model.untilMs - clock.now());
        const free = model.state === 'half-open' && model.trying + model.won < rules.halfOpenProbes;
        assert.equal(breaker.retryAfterMs, free ? 0 : until);
      }
    }),
    { numRuns: 300 },
  );
});
