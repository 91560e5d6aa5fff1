export type { Closeable, CloseOptions } from '../core/CloseScope.js';
export type { Clock, Timer } from '../core/clock.js';
export {
  ClosedError,
  ERROR_CODES,
  type ErrorCode,
  OptionError,
  PoolkitError,
  ShutdownTimeoutError,
} from '../core/errors.js';
export type { LogFn, Logger } from '../core/logger.js';
export { addHttpServer, closeHttpServer, type HttpStepsOptions } from './closeHttpServer.js';
export { type FlightEntry, InFlight, type InFlightOptions } from './InFlight.js';
export { type ForceOptions, SHUTDOWN_DEFAULTS, type ShutdownPlanOptions, type StepOptions } from './planOptions.js';
export type { ShutdownOutcome } from './runBounded.js';
export { ShutdownPlan } from './ShutdownPlan.js';
export { ShutdownReport, type StepReport } from './ShutdownReport.js';
export { LISTEN_DEFAULTS, type ListenOptions } from './signals.js';
export {
  SHUTDOWN_PHASES,
  type ShutdownContext,
  type ShutdownPhase,
  type ShutdownStage,
  type ShutdownTarget,
} from './steps.js';
export { TrackedHttpServer, trackHttpServer } from './TrackedHttpServer.js';
