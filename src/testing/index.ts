export type { Clock, Timer } from '../core/index.js';
export { closeAndCheck, type LeakBaseline, type LeakOptions, leakBaseline } from './closeAndCheck.js';
export { FakeClock } from './FakeClock.js';
export { type Fault, FaultPlan, type FaultPlanOptions } from './FaultPlan.js';
export { type FaultyOptions, faulty } from './faulty.js';
