export { Instrument } from './Instrument.js';
export {
  type GatewayFigures,
  INSTRUMENT_DEFAULTS,
  type InstrumentOptions,
  type LimiterFigures,
} from './instrumentOptions.js';
export { EVENT_LOG_DEFAULTS, EventLog, type EventLogOptions, LOG_EVENTS } from './logs/EventLog.js';
export { METRICS, type MetricName } from './metrics/list/METRICS.js';
export type { MetricSpec } from './metrics/list/MetricSpec.js';
export { OPEN_TELEMETRY_DEFAULTS, OpenTelemetry, type OpenTelemetryOptions } from './otel/OpenTelemetry.js';
export { type PrometheusRegistry, prometheusRegistry, registerMetrics } from './prometheus.js';
export type { RequestTrace, TracedRequest } from './requests/requestTrace.js';
