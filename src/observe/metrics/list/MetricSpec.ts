/** What a metric is told apart by. */
export type Label =
  | 'server'
  | 'target'
  | 'method'
  | 'tool'
  | 'principal'
  | 'outcome'
  | 'reason'
  | 'state'
  | 'era'
  | 'stat'
  | 'version';

export interface MetricSpec {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly Label[];
  /** Left out of the Grafana dashboard, or drawn there by this expression, with its unit as Grafana names it. */
  readonly panel?: {
    readonly title: string;
    readonly expr: string;
    readonly legend: string;
    readonly unit: string;
    readonly row: 'Calls' | 'Servers' | 'Gateway';
  };
  /** The alert that it is the reason for. */
  readonly alert?: {
    readonly name: string;
    readonly expr: string;
    readonly for: string;
    readonly severity: 'warning' | 'critical';
    readonly summary: string;
  };
}

/** The rate over the interval that a dashboard's step asks for. */
export const RATE = '[$__rate_interval]';
