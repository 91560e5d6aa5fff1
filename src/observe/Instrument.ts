import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { IdTable } from '../core/wait/IdTable.js';
import type { McpPool } from '../pool/McpPool.js';
import { type CallTrace, selfOf, type TracedCall } from '../pool/server/calls/trace.js';
import { type CheckedInstrument, checkInstrumentOptions, type InstrumentOptions } from './instrumentOptions.js';
import { CallSeries } from './metrics/CallSeries.js';
import { collect, type MetricFamily } from './metrics/collect.js';
import { EventLoopDelay } from './metrics/EventLoopDelay.js';
import { BoundedLabel, OTHER } from './metrics/Labels.js';
import { ProcessorTime } from './metrics/ProcessorTime.js';
import { RequestSeries } from './metrics/RequestSeries.js';
import type { RequestTrace, TracedRequest } from './requests/requestTrace.js';

/**
 * Counts what a pool, and a gateway in front of it, do, from the diagnostics channels `mcp-poolkit:call` and
 * `mcp-poolkit:request` and the pool's events: the one source of Prometheus, the status page and the terminal. It listens from
 * its making to its close; both are lent.
 */
export class Instrument implements Disposable {
  readonly #pool: McpPool;
  readonly #options: CheckedInstrument;
  readonly #servers = new Map<string, CallSeries>();
  readonly #serverNames: BoundedLabel;
  readonly #open = new IdTable<{ readonly id: number; readonly call: TracedCall; sent: boolean }>();
  readonly #requests = new IdTable<{ readonly id: number; readonly request: TracedRequest }>();
  readonly #requestSeries = new RequestSeries();
  readonly #delay = new EventLoopDelay();
  readonly #processor = new ProcessorTime();
  readonly #listening: readonly Disposable[];
  #closed = false;

  /** @throws OptionError */
  constructor(options: InstrumentOptions) {
    this.#options = checkInstrumentOptions(options);
    this.#pool = selfOf(options.pool);
    this.#serverNames = new BoundedLabel(undefined, this.#options.maxServers);
    subscribe('mcp-poolkit:call', this.#onCall);
    subscribe('mcp-poolkit:request', this.#onRequest);
    this.#listening = [
      this.#pool.on('restarted', ({ server, reason }) => this.#of(server).restarted(reason)),
      this.#delay,
      { [Symbol.dispose]: () => void unsubscribe('mcp-poolkit:call', this.#onCall) },
      { [Symbol.dispose]: () => void unsubscribe('mcp-poolkit:request', this.#onRequest) },
    ];
  }

  /** Every metric with its values at this moment. */
  collect(): MetricFamily[] {
    return collect({
      pool: this.#pool,
      servers: this.#servers,
      requests: this.#requestSeries,
      gateway: this.#options.gateway?.stats,
      limiter: this.#options.limiter,
      delay: this.#delay,
      processor: this.#processor,
      label: (server) => this.#label(server),
    });
  }

  /** What the calls of one server came to; undefined while there were none. */
  series(server: string): CallSeries | undefined {
    return this.#servers.get(server);
  }

  /** Calls that have not ended, oldest first. */
  get openCalls(): readonly TracedCall[] {
    return this.#open.values().map(({ call }) => call);
  }

  /** Requests of clients that have not ended, oldest first. */
  get openRequests(): readonly TracedRequest[] {
    return this.#requests.values().map(({ request }) => request);
  }

  /** Stops to listen. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const each of this.#listening) each[Symbol.dispose]();
    this.#open.clear();
    this.#requests.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  readonly #onCall = (message: unknown): void => {
    const { phase, call } = message as CallTrace;
    if (call.pool !== this.#pool) return;
    const series = this.#of(call.server);
    if (phase === 'queue') {
      this.#open.add({ id: call.id, call, sent: false });
      series.waiting++;
      return;
    }
    const open = this.#open.get(call.id);
    if (phase === 'answer') {
      // One that had begun before this listened counts at its end, but was never in flight here.
      if (open !== undefined) {
        this.#open.delete(open);
        if (open.sent) series.inFlight--;
        else series.waiting--;
      }
      series.ended(call);
    } else if (phase === 'retry') {
      series.retried(call);
      if (open !== undefined) this.#move(series, open, false);
    } else if (open !== undefined) this.#move(series, open, true);
  };

  #move(series: CallSeries, open: { sent: boolean }, sent: boolean): void {
    if (open.sent === sent) return;
    open.sent = sent;
    series.inFlight += sent ? 1 : -1;
    series.waiting += sent ? -1 : 1;
  }

  readonly #onRequest = (message: unknown): void => {
    const { phase, request } = message as RequestTrace;
    if (request.pool !== this.#pool) return;
    const { sequence: id } = request;
    if (phase === 'begin') this.#requests.add({ id, request });
    else {
      const open = this.#requests.get(id);
      if (open !== undefined) this.#requests.delete(open);
      this.#requestSeries.ended(request);
    }
  };

  /** A name that is no server's of the pool is a caller's own: it gets no series. */
  #label(server: string): string {
    return this.#servers.has(server) || this.#pool.hasServer(server) ? this.#serverNames.of(server) : OTHER;
  }

  #of(server: string): CallSeries {
    const known = this.#servers.get(server);
    if (known !== undefined) return known;
    const label = this.#label(server);
    const { tools, maxTools, principals } = this.#options;
    const series =
      this.#servers.get(label) ??
      new CallSeries(
        new BoundedLabel(tools, maxTools),
        principals === undefined ? undefined : new BoundedLabel(principals, 0),
      );
    this.#servers.set(label, series);
    return series;
  }
}
