export {
  BENCH_DEFAULTS,
  type BenchOptions,
  type BenchProgress,
  SWEEP_OPTIONS,
  type SweepOption,
} from './BenchOptions.js';
export { compareReports, judge } from './judge/compare.js';
export { type Criterion, type FigureName, parseCriteria } from './judge/criteria.js';
export type { ClosedModel, Model, OpenModel } from './load/models.js';
export { type Operation, type Turn, WrongAnswerError } from './load/Operation.js';
export { type LatencySummary, Recorder, type RecorderData, type Second } from './load/Recorder.js';
export { ReferenceServer } from './reference/ReferenceServer.js';
export { htmlReport } from './report/html.js';
export {
  type BenchReport,
  type ClassResult,
  type Comparison,
  type Judgement,
  type MaxResult,
  RESULT_SCHEMA,
  type StepResult,
} from './report/results.js';
export { junitReport, markdownReport, textReport } from './report/text.js';
export { runBench } from './runBench.js';
export type { GeneratorFigures } from './sample/generator.js';
export { type ProcessFigures, ProcessSampler, type SideFigures } from './sample/processes.js';
export type { TargetSettings } from './target/Target.js';
export { parseTarget, type TargetOptions, type TargetSpec } from './target/TargetSpec.js';
export type { Arguments } from './workload/chooseTool.js';
export { readScenario, type Scenario, scenarioJsonSchema } from './workload/Scenario.js';
export type { ToolChoice, Workload } from './workload/Workload.js';
