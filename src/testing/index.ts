export type { Clock, Timer } from '../core/index.js';
export { closeAndCheck, type LeakBaseline, type LeakOptions, leakBaseline } from './closeAndCheck.js';
export { FaultyDisk, type FaultyDiskOptions } from './disk/FaultyDisk.js';
export { FakeClock } from './FakeClock.js';
export { type FakeServerCommand, type FakeServerData, fakeServerCommand } from './fake/child/fakeServerCommand.js';
export { FakeServer, fakeServer } from './fake/FakeServer.js';
export type { FakeServerOptions, FakeTool, FakeToolContext } from './fake/FakeServerOptions.js';
export type { FakeHttp } from './fake/http/FakeHttp.js';
export type { FakeHttpExchange, FakeHttpOptions } from './fake/http/FakeHttpOptions.js';
export type { FaultLogOptions } from './faults/EventLog.js';
export { type EffectEvent, epochNow, type FaultEvent, type KitEvent, META_CALL } from './faults/events.js';
export {
  FaultPlan,
  type FaultPlanOptions,
  type FaultPlanParts,
  type Injection,
  type RuleHandle,
} from './faults/FaultPlan.js';
export { FAULTS, type Fault } from './faults/faultTable.js';
export { faultPlanSchema } from './faults/planSchema.js';
export type { FaultRule, FaultSubject } from './faults/rule/FaultRule.js';
export type { PlanState } from './faults/rule/RuleTally.js';
export type { FaultSettings, Latency } from './faults/settings.js';
export type { FaultSpec, FaultWire } from './faults/table/spec.js';
export { type FaultyOptions, faulty } from './faulty.js';
export { type CheckOptions, check } from './history/check.js';
export { History, type HistoryOptions } from './history/History.js';
export type { HistoryEvent, UntimedEvent } from './history/HistoryEvent.js';
export { type Recordable, record } from './history/record/record.js';
export type { RecordableClient } from './history/record/recordClient.js';
export type { RecordableGateway } from './history/record/recordGateway.js';
export { type RecordableLimiter, recordLimiter } from './history/record/recordLimiter.js';
export { recordMessages } from './history/record/recordMessages.js';
export type { RecordOptions } from './history/record/recordOptions.js';
export type { Verdict, VerdictCounts } from './history/Verdict.js';
export { RULES, type Rule, type Violation } from './history/Violation.js';
export { FaultProxy, type FaultProxyOptions } from './proxy/FaultProxy.js';
export { TcpFaultProxy, type TcpFaultProxyOptions } from './proxy/TcpFaultProxy.js';
export { type ReplayOptions, replay } from './replay/replay.js';
export type { ProcessHand } from './wire/stdio/LineWire.js';
export type { WireEnd } from './wire/WireCall.js';
