import { messageOf } from '../core/errors.js';
import { checkPart } from '../core/options.js';
import type { Instrument } from './Instrument.js';
import type { Labels, MetricFamily, Sample } from './metrics/collect.js';
import { BUCKETS_S, type Histogram } from './metrics/Histogram.js';
import { METRICS } from './metrics/list/METRICS.js';
import type { MetricSpec } from './metrics/list/MetricSpec.js';

/** What is asked of a registry of `prom-client` (an optional peer). */
export interface PrometheusRegistry {
  // biome-ignore lint/suspicious/noExplicitAny: the metric is of a type that only prom-client names.
  registerMetric(metric: any): void;
  metrics(): Promise<string>;
  readonly contentType: string;
}

interface Value {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  readonly metricName?: string;
}

/**
 * Has a registry of `prom-client` tell what the instrument counts, beside the metrics that are there already. Two instruments in
 * one process need a registry each.
 */
export function registerMetrics(registry: PrometheusRegistry, instrument: Instrument): void {
  checkPart('registry', registry, ['registerMetric'], 'a registry of prom-client');
  const scrape = new Scrape(checkPart('instrument', instrument, ['collect'], 'an Instrument'));
  for (const spec of METRICS) registry.registerMetric(metricOf(spec, () => scrape.samples(spec)));
}

/** A registry of its own. @throws Error saying that `prom-client` is to be installed */
export async function prometheusRegistry(instrument: Instrument): Promise<PrometheusRegistry> {
  const registry: PrometheusRegistry = new (await loadPromClient()).Registry();
  registerMetrics(registry, instrument);
  return registry;
}

async function loadPromClient(): Promise<{ readonly Registry: new () => PrometheusRegistry }> {
  try {
    return await import('prom-client');
  } catch (error) {
    throw new Error(`metrics need the package prom-client: npm install prom-client (${messageOf(error)})`, {
      cause: error,
    });
  }
}

/** A scrape asks for each metric by itself, in one turn: they are to be of one moment. */
class Scrape {
  readonly #instrument: Instrument;
  #families: ReadonlyMap<string, MetricFamily> | undefined;

  constructor(instrument: Instrument) {
    this.#instrument = instrument;
  }

  samples({ name }: MetricSpec): readonly Sample[] {
    if (this.#families === undefined) {
      this.#families = new Map(this.#instrument.collect().map((family) => [family.spec.name, family]));
      queueMicrotask(() => {
        this.#families = undefined;
      });
    }
    return this.#families.get(name)?.samples ?? [];
  }
}

/** As `prom-client` asks a metric of its own for its values. */
function metricOf(spec: MetricSpec, samples: () => readonly Sample[]): object {
  const { name, help, type, labels } = spec;
  return {
    name,
    help,
    type,
    labelNames: labels,
    aggregator: 'sum',
    reset: () => undefined,
    get: async () => ({
      name,
      help,
      type,
      aggregator: 'sum',
      values: samples().flatMap((each) => valuesOf(name, each)),
    }),
  };
}

function valuesOf(name: string, { labels, value }: Sample): Value[] {
  return typeof value === 'number' ? [{ labels: labels as Value['labels'], value }] : bucketsOf(name, labels, value);
}

function bucketsOf(name: string, labels: Labels, histogram: Histogram): Value[] {
  const counts = histogram.cumulative();
  const buckets = counts.map((value, index) => ({
    metricName: `${name}_bucket`,
    labels: { ...labels, le: BUCKETS_S[index] ?? '+Inf' },
    value,
  }));
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels: labels as Value['labels'], value: histogram.sumSeconds },
    { metricName: `${name}_count`, labels: labels as Value['labels'], value: histogram.count },
  ];
}
