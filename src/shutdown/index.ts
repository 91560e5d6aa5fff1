export {
  CLOSE_DEFAULTS,
  type Clock,
  type Closeable,
  type CloseHooks,
  type CloseOptions,
  CloseScope,
  Emitter,
  type GracePeriod,
  type Listener,
  type LogFn,
  type Logger,
  silentLogger,
  systemClock,
  type Timer,
} from '../core/index.js';
export { BackgroundWorker, type BackgroundWorkerInspection, type BackgroundWorkerOptions } from './BackgroundWorker.js';
export { addHttpServer, closeHttpServer, type HttpStepsOptions } from './closeHttpServer.js';
export { Health, type HealthInspection, type HealthOptions, type HealthState, type HealthStatus } from './Health.js';
export { type CheckFunction, type CheckLine, HEALTH_DEFAULTS, type HealthCheckOptions } from './HealthCheck.js';
export { type FlightEntry, InFlight, type InFlightInspection, type InFlightOptions } from './InFlight.js';
export {
  type ForceOptions,
  SHUTDOWN_DEFAULTS,
  type ShutdownPlanInspection,
  type ShutdownPlanOptions,
  type StepOptions,
} from './plan/planOptions.js';
export type { ShutdownOutcome } from './plan/runBounded.js';
export { ShutdownReport, type StepReport } from './plan/ShutdownReport.js';
export { LISTEN_DEFAULTS, type ListenOptions } from './plan/signals.js';
export {
  SHUTDOWN_PHASES,
  type ShutdownContext,
  type ShutdownPhase,
  type ShutdownStage,
  type ShutdownTarget,
} from './plan/steps.js';
export { ShutdownPlan } from './ShutdownPlan.js';
export { TrackedHttpServer, trackHttpServer } from './TrackedHttpServer.js';
export { type WithTimeoutOptions, withTimeout } from './withTimeout.js';
