import { expect, test } from 'vitest';
import { compareReports, judge } from '../../src/bench/judge/compare.js';
import { parseCriteria } from '../../src/bench/judge/criteria.js';
import { findMax } from '../../src/bench/judge/findMax.js';
import { intendedTimes } from '../../src/bench/load/models.js';
import { jain } from '../../src/bench/load/toResult.js';
import { type BenchReport, RESULT_SCHEMA, type StepResult } from '../../src/bench/report/results.js';
import { junitReport, markdownReport, textReport } from '../../src/bench/report/text.js';
import { limitOf } from '../../src/bench/sample/generator.js';
import { splitCommand } from '../../src/bench/target/TargetSpec.js';
import { checkScenario } from '../../src/bench/workload/Scenario.js';
import { compileTemplate, nonceOf } from '../../src/bench/workload/template.js';
import { OptionError } from '../../src/core/errors.js';

function step(p99: number, rate = 100, errorRatio = 0, size = 1): StepResult {
  const latencyMs = { min: 1, mean: 2, p50: p99 / 2, p90: p99, p95: p99, p99, p999: p99, max: p99 };
  return {
    target: 't|<x>',
    workload: 'echo',
    model: `closed, ${size} in flight`,
    size,
    durationMs: 1_000,
    all: {
      name: 'all',
      calls: 100,
      errors: errorRatio > 0 ? { ERR_X: 1 } : {},
      errorRatio,
      callsPerSec: rate,
      latencyMs,
      queueWaitMs: undefined,
      beyondServiceMs: undefined,
      late: 0,
      dropped: 0,
      events: 0,
      outageMs: 0,
      seconds: [],
      distribution: [],
    },
    classes: [],
    fairness: undefined,
    processes: undefined,
    cpuPerCallUs: undefined,
    generator: { cpuRatio: 0.1, loopDelayP99Ms: 0, saturated: false },
    complete: true,
  };
}

/** As `step`, of failures. */
const failing = (outageMs: number, failingMs?: number): StepResult => {
  const { all, ...rest } = step(2, 100, 0.1);
  return { ...rest, all: { ...all, outageMs, failingMs } };
};

const report = (...steps: StepResult[]): BenchReport => ({
  schema: RESULT_SCHEMA,
  tool: 'mcp-poolkit bench 1',
  startedAt: '2026-01-01T00:00:00.000Z',
  command: 'mcp-poolkit bench x',
  machine: { cpu: 'c', cores: 2, node: 'v20', platform: 'linux x64' },
  steps,
  max: [],
  verdicts: [],
  judgements: [],
  notes: [],
  complete: true,
});

test('a figure is better or worse only beyond the noise of its turns', () => {
  const base = report(step(10), step(12), step(11));
  const verdict = (now: BenchReport) => compareReports(base, now).find(({ figure }) => figure === 'p99')?.verdict;
  expect(verdict(report(step(11), step(12), step(13)))).toBe('cannot tell');
  expect(verdict(report(step(20), step(21), step(22)))).toBe('worse');
  expect(verdict(report(step(4), step(5), step(4)))).toBe('better');
  const errors = compareReports(base, base).find(({ figure }) => figure === 'errors');
  expect(errors).toMatchObject({ base: 0, now: 0, verdict: 'same' });
  const rate = compareReports(report(step(1, 100)), report(step(1, 200))).find(({ figure }) => figure === 'rate');
  expect(rate).toMatchObject({ change: 1, verdict: 'better' });
});

test('thresholds: absolute, against a base, within the noise, and a run without answers', () => {
  const kept = (text: string, now: BenchReport, base?: BenchReport) =>
    judge(parseCriteria('failIf', text), now, base).every((each) => each.kept);
  expect(kept('p99>200ms', report(step(100)))).toBe(true);
  expect(kept('p99>200ms', report(step(300)))).toBe(false);
  expect(kept('p99>20%'.replace('20%', '+20%'), report(step(110)), report(step(100)))).toBe(true);
  expect(kept('p99>+20%', report(step(150)), report(step(100)))).toBe(false);
  expect(kept('rate<-20%', report(step(1, 70)), report(step(1, 100)))).toBe(false);
  expect(kept('errors>0', report(step(1, 1, 0.01)))).toBe(false);
  const nothing = { ...step(1), all: { ...step(1).all, calls: 0, latencyMs: undefined } };
  expect(kept('p99>200ms', report(nothing))).toBe(false);
});

test.each(['p98<1ms', 'p99<1', 'p99', 'errors<5ms', 'p99>+20ms', 'rate>5%%', ''])(
  'the condition %j is refused with what is expected',
  (text) => {
    expect(() => parseCriteria('slo', text)).toThrow(OptionError);
  },
);

test('the knee of a server that holds up to 37 in flight is found by halving', async () => {
  const { max } = await findMax({
    target: 't',
    criteria: parseCriteria('slo', 'p99<200ms,errors<0.1%'),
    unit: 'in flight',
    from: 1,
    limit: 1_000,
    precision: 0.01,
    run: async (size) => step(size > 37 ? 500 : 100, 100, 0, size),
  });
  expect(max.best).toBe(37);
  expect(max.tried.find(({ size }) => size === 64)).toMatchObject({ kept: false });
  expect(max.tried.length).toBeLessThan(16);
});

test('intended times: even, ramping up, and poisson with the right mean', () => {
  const times = [...intendedTimes({ model: 'open', ratePerSec: 100 }, 1_000)];
  expect(times.length).toBe(100);
  expect(times[9]).toBeCloseTo(100);
  const ramp = [...intendedTimes({ model: 'open', ratePerSec: 10, rampTo: 100 }, 10_000)];
  expect(ramp.filter((each) => each < 5_000).length).toBeLessThan(ramp.length / 2.2);
  let seed = 1;
  const random = () => {
    seed = (seed * 16_807) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  const poisson = [...intendedTimes({ model: 'open', ratePerSec: 1_000, arrivals: 'poisson' }, 10_000, random)];
  expect(poisson.length).toBeGreaterThan(9_600);
  expect(poisson.length).toBeLessThan(10_400);
});

test("Jain's index is 1 for equals and 1/n for one that has all", () => {
  expect(jain([5, 5, 5, 5])).toBeCloseTo(1);
  expect(jain([8, 0, 0, 0])).toBeCloseTo(0.25);
});

test('arguments are filled in, each kind of placeholder', () => {
  const filled = compileTemplate({ a: 'x {{nonce}}', b: ['{{turn}}', '{{payload:5}}'], c: '{{random:3:3}}', d: 4 })(7);
  expect(filled).toEqual({ a: `x ${nonceOf(7)}`, b: [7, 'xxxxx'], c: 3, d: 4 });
  expect(nonceOf(1)).toHaveLength(nonceOf(36 ** 5).length);
});

test('a command line is read as a shell reads quotes', () => {
  expect(splitCommand(`node "a b.js" 'c d' e\\ f ""`)).toEqual(['node', 'a b.js', 'c d', 'e f', '']);
  expect(() => splitCommand('node "a')).toThrow(OptionError);
});

test('a scenario is checked, with the place of a mistake', () => {
  const good = { streams: [{ name: 's', concurrency: 2, mix: [{ tool: 'echo' }] }] };
  expect(checkScenario(good).streams[0]?.mix[0]).toMatchObject({ tool: 'echo', weight: 1 });
  expect(() => checkScenario({ streams: [{ name: 's', mix: [{ tool: 'echo' }] }] })).toThrow(/streams\.0.*ratePerSec/);
  expect(() => checkScenario({ streams: [{ name: 's', concurrency: 2, mix: [{ tool: 'echo', wait: 1 }] }] })).toThrow(
    /streams\.0\.mix\.0/,
  );
});

test('the text of a report ends with its verdicts, behind notes and processes', () => {
  const judged = { criterion: 'p99>1s', step: 's', value: 5, kept: true };
  const one = { pid: 7, command: 'node server.js', cpuMs: 1, rssBefore: 1, rssPeak: 1, rssAfter: 1 };
  const processes = {
    processes: [{ ...one, fdsBefore: 1, fdsPeak: 1, fdsAfter: 1 }],
  } as unknown as StepResult['processes'];
  const all = { ...report({ ...step(10), processes }), notes: ['a note'], judgements: [judged] };
  expect(textReport(all)).toMatch(/node server\.js[\s\S]*note: a note\n\nThresholds[\s\S]*passed\n$/);
  expect(textReport(all, { processes: false })).not.toContain('node server.js');
});

test('a generator at its limit says which: its core, or an event loop that others held up', () => {
  const figures = { cpuRatio: 0.05, loopDelayP99Ms: 80, saturated: true };
  expect(limitOf([figures], 1)).toEqual({
    what: 'its event loop up to 80 ms late with 0.05 of a core used',
    remedy: 'the machine was busy with other work',
  });
  expect(limitOf([{ ...figures, cpuRatio: 0.97 }], 2)).toEqual({
    what: 'up to 0.97 of a core',
    remedy: 'try --workers 4',
  });
});

test('reports are inert wherever a name goes', () => {
  const all = report(step(10));
  expect(markdownReport(all)).toContain('t\\|&lt;x>');
  expect(junitReport(all)).toContain('t|&lt;x&gt;');
  expect(textReport(all)).toContain('t|<x>');
});

test('a recovery is told where one came: not of a step that failed until its end, nor of one without failures', () => {
  const text = textReport(report(failing(20), failing(20, 1_900), failing(20, 5), step(2)));
  const rows = text.split('\n').filter((line) => line.includes(' closed, '));
  const recoveries = rows.map((row) => row.split(/ {2,}/).at(-1));
  expect(recoveries).toEqual(['20.0 ms', 'none in 1900 ms', '20.0 ms', '-']);
});
