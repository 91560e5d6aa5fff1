// Everything a proxy can be watched by, in one program: metrics, spans, logs. The spans go to a list here; in production,
// to an exporter of your choice.
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { EventLog, Instrument, OpenTelemetry, prometheusRegistry } from 'mcp-poolkit/observe';
import type { Logger, McpPool } from 'mcp-poolkit/pool';

/** Watches a pool until it is closed. */
export async function observe(pool: McpPool, logger: Logger) {
  const spans = new InMemorySpanExporter();
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  const instrument = new Instrument({ pool });
  const telling = await OpenTelemetry.start({ pool, instrument, tracerProvider });
  const log = new EventLog({ pool, logger });
  const registry = await prometheusRegistry(instrument);
  return {
    spans,
    instrument,
    /** What a Prometheus scrapes. */
    metrics: () => registry.metrics(),
    async close(): Promise<void> {
      log.close();
      telling.close();
      instrument.close();
      await tracerProvider.shutdown();
    },
  };
}
