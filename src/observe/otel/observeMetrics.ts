import type { Meter, Observable } from '@opentelemetry/api';
import type { Instrument } from '../Instrument.js';
import { METRICS } from '../metrics/list/METRICS.js';

/** The counters and gauges of an instrument as observable ones; gives what ends that. Durations have their own names here. */
export function observeMetrics(meter: Meter, instrument: Instrument): () => void {
  const observables = new Map<string, Observable>();
  for (const { name, type, help } of METRICS) {
    if (type === 'histogram') continue;
    const options = { description: help, unit: unitOf(name) };
    const dotted = dottedOf(name);
    const observable =
      type === 'counter'
        ? meter.createObservableCounter(dotted, options)
        : meter.createObservableGauge(dotted, options);
    observables.set(name, observable);
  }
  const all = [...observables.values()];
  const observe: Parameters<Meter['addBatchObservableCallback']>[0] = (result) => {
    for (const { spec, samples } of instrument.collect()) {
      const observable = observables.get(spec.name);
      if (observable === undefined) continue;
      for (const { labels, value } of samples) {
        if (typeof value === 'number') result.observe(observable, value, labels as Record<string, string>);
      }
    }
  };
  meter.addBatchObservableCallback(observe, all);
  return () => meter.removeBatchObservableCallback(observe, all);
}

/** A unit is no part of a name there, nor is `total`. */
function dottedOf(name: string): string {
  return name
    .replace(/_total$/, '')
    .replace(/_(seconds|bytes)$/, '')
    .replace(/^mcp_poolkit_/, 'mcp_poolkit.')
    .replace(/^(mcp_poolkit\.(?:gateway|process|server|breaker|limiter))_/, '$1.');
}

function unitOf(name: string): string {
  if (/_seconds(_total)?$/.test(name)) return 's';
  return /_bytes(_total)?$/.test(name) ? 'By' : '1';
}
