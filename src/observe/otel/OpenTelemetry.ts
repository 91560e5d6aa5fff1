import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { messageOf, OptionError } from '../../core/errors.js';
import { checkBoolean, checkCount, withDefaults } from '../../core/options.js';
import { packageVersion } from '../../core/version.js';
import type { McpPool } from '../../pool/McpPool.js';
import { type CallTrace, selfOf } from '../../pool/server/calls/trace.js';
import type { Instrument } from '../Instrument.js';
import { BoundedLabel } from '../metrics/Labels.js';
import type { RequestTrace } from '../requests/requestTrace.js';
import { Durations } from './Durations.js';
import { observeMetrics } from './observeMetrics.js';
import { Spans } from './Spans.js';

type Api = typeof import('@opentelemetry/api');
type TracerProvider = import('@opentelemetry/api').TracerProvider;
type MeterProvider = import('@opentelemetry/api').MeterProvider;

export interface OpenTelemetryOptions {
  /** The pool whose calls are told; with a gateway over it, the requests of its clients too. Lent. */
  readonly pool: McpPool;
  /** Its counters and gauges become metrics too. Lent. @defaultValue none: durations alone */
  readonly instrument?: Instrument;
  /** Of an SDK. @defaultValue the one that is registered globally */
  readonly tracerProvider?: object;
  /** Of an SDK. @defaultValue the one that is registered globally */
  readonly meterProvider?: object;
  /** Whether spans name the principal of a call, as its hash. @defaultValue false */
  readonly principals?: boolean;
  /** Tools that metrics tell apart, from 0, half of them such as no call went well of; the rest is `other`. Spans name every tool. @defaultValue 1000 */
  readonly maxTools?: number;
}

export const OPEN_TELEMETRY_DEFAULTS = Object.freeze({ principals: false, maxTools: 1_000 });

/**
 * Spans and metrics by OpenTelemetry's semantic conventions for MCP, from its start to its close. Trace context comes from
 * `_meta.traceparent` and the `traceparent` of HTTP requests, and goes on to servers in `_meta`. What an SDK throws costs
 * what it was told, and one process warning; calls go on.
 */
export class OpenTelemetry implements Disposable {
  readonly #stop: (() => void)[];

  private constructor(stop: (() => void)[]) {
    this.#stop = stop;
  }

  /** @throws OptionError; Error saying that `@opentelemetry/api` is to be installed */
  static async start(options: OpenTelemetryOptions): Promise<OpenTelemetry> {
    const others = { pool: true, instrument: true, tracerProvider: true, meterProvider: true } as const;
    const { pool, instrument, principals, maxTools, tracerProvider, meterProvider } = withDefaults(
      'OpenTelemetry',
      options,
      OPEN_TELEMETRY_DEFAULTS,
      others,
    );
    if (typeof pool?.on !== 'function') throw new OptionError('pool', pool, 'a pool of servers');
    checkCount('maxTools', maxTools);
    checkBoolean('principals', principals);
    const self = selfOf(pool);
    const api = await loadApi();
    const version = packageVersion();
    const tracers = (tracerProvider ?? api.trace) as TracerProvider;
    const meters = (meterProvider ?? api.metrics) as MeterProvider;
    const meter = meters.getMeter('mcp-poolkit', version);
    const tools = new BoundedLabel(undefined, maxTools);
    const spans = new Spans(api, tracers.getTracer('mcp-poolkit', version), principals);
    const durations = new Durations(meter, (tool, outcome) => tools.of(tool, outcome));
    const guarded = guard();
    const onCall = (message: unknown): void => {
      const trace = message as CallTrace;
      if (trace.call.pool !== self) return;
      guarded(() => spans.onCall(trace));
      guarded(() => durations.onCall(trace));
    };
    const onRequest = (message: unknown): void => {
      const trace = message as RequestTrace;
      if (trace.request.pool !== self) return;
      guarded(() => spans.onRequest(trace));
      guarded(() => durations.onRequest(trace));
    };
    subscribe('mcp-poolkit:call', onCall);
    subscribe('mcp-poolkit:request', onRequest);
    const exited = pool.on('exited', (event) => guarded(() => durations.onExited(pool, event)));
    const stop = [
      () => void unsubscribe('mcp-poolkit:call', onCall),
      () => void unsubscribe('mcp-poolkit:request', onRequest),
      () => exited[Symbol.dispose](),
    ];
    if (instrument !== undefined) stop.push(observeMetrics(meter, instrument));
    return new OpenTelemetry(stop);
  }

  /** Stops to listen; spans that are open are not ended. Idempotent. */
  close(): void {
    for (const stop of this.#stop.splice(0)) stop();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** What an SDK throws (a sampler, a span processor, an instrument) is told once, by a process warning, and harms no call. */
function guard(): (tell: () => void) => void {
  let told = false;
  return (tell) => {
    try {
      tell();
    } catch (error) {
      if (!told) process.emitWarning(`OpenTelemetry failed, what it was told is lost: ${messageOf(error)}`);
      told = true;
    }
  };
}

async function loadApi(): Promise<Api> {
  try {
    return await import('@opentelemetry/api');
  } catch (error) {
    const why = `OpenTelemetry needs its package: npm install @opentelemetry/api (${messageOf(error)})`;
    throw new Error(why, { cause: error });
  }
}
