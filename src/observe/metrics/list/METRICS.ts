import { CALL_METRICS } from './callMetrics.js';
import { GATEWAY_METRICS } from './gatewayMetrics.js';
import { SERVER_METRICS } from './serverMetrics.js';
import { TARGET_METRICS } from './targetMetrics.js';

/**
 * Every metric, once: the exporters, the table of `docs/observability.md`, the Grafana dashboard and the alert rules in
 * `deploy/` are made from this list. Names and units as Prometheus has them (Prometheus, metric and label naming).
 */
export const METRICS = [...CALL_METRICS, ...SERVER_METRICS, ...TARGET_METRICS, ...GATEWAY_METRICS] as const;

export type MetricName = (typeof METRICS)[number]['name'];
