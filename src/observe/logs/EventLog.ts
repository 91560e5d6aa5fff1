import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { OptionError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { checkBoolean, withDefaults } from '../../core/options.js';
import { ownText } from '../../core/text/ownText.js';
import type { McpPool } from '../../pool/McpPool.js';
import { type CallTrace, selfOf, type TracedCall } from '../../pool/server/calls/trace.js';
import type { RequestTrace, TracedRequest } from '../requests/requestTrace.js';
import { errorFields } from './errorFields.js';

export interface EventLogOptions {
  /** The pool whose events are logged; with a gateway over it, the requests of its clients too. Lent. */
  readonly pool: McpPool;
  /** Where to: pino, or anything with its methods. */
  readonly logger: Logger;
  /** Whether calls and requests that went well are logged, at `debug`. @defaultValue true */
  readonly successes?: boolean;
}

export const EVENT_LOG_DEFAULTS = Object.freeze({ successes: true });

/** The names of the events, which stay: what an operator searches and alerts by. */
export const LOG_EVENTS = Object.freeze([
  'request.done',
  'request.failed',
  'call.sent',
  'call.retried',
  'call.done',
  'call.failed',
  'server.started',
  'server.exited',
  'server.restarted',
  'server.state',
  'breaker.changed',
  'config.applied',
  'lease.leaked',
] as const);

/** Of the reason for an end, which may be a peer's words. */
const MAX_TEXT_CHARS = 1_024;

type LogEvent = (typeof LOG_EVENTS)[number];

/** Outcomes that a server answered with, or that its own caller wanted: no one is to be woken by them. */
const EXPECTED: ReadonlySet<string> = new Set(['tool_error', 'ERR_RPC', 'ABORTED']);

/**
 * One structured line for each event, with a stable name in `event` and `requestId` through all lines of one request. No
 * argument, result, header, principal or context is ever in a line; URIs of resources are left out, as they may be secrets. The
 * message of an error may quote what a server wrote.
 */
export class EventLog implements Disposable {
  readonly #pool: McpPool;
  readonly #logger: Logger;
  readonly #successes: boolean;
  #stop: (() => void)[];

  /** @throws OptionError */
  constructor(options: EventLogOptions) {
    const others = { pool: true, logger: true } as const;
    const { pool, logger, successes } = withDefaults('EventLog', options, EVENT_LOG_DEFAULTS, others);
    if (typeof pool?.on !== 'function') throw new OptionError('pool', pool, 'a pool of servers');
    if (typeof logger?.info !== 'function') throw new OptionError('logger', logger, "a logger with pino's methods");
    this.#pool = selfOf(pool);
    this.#logger = logger;
    this.#successes = checkBoolean('successes', successes);
    subscribe('mcp-poolkit:call', this.#onCall);
    subscribe('mcp-poolkit:request', this.#onRequest);
    const listening = [
      pool.on('started', ({ principal: _, ...event }) => this.#log('info', 'server.started', event)),
      pool.on('exited', ({ reason: why, ...event }) => {
        const reason = ownText(why, MAX_TEXT_CHARS);
        this.#log(event.expected ? 'info' : 'warn', 'server.exited', { ...event, reason });
      }),
      pool.on('restarted', (event) => this.#log('info', 'server.restarted', event)),
      pool.on('state', (event) => this.#log(event.state === 'failed' ? 'warn' : 'info', 'server.state', event)),
      pool.on('breaker', (event) => this.#log('warn', 'breaker.changed', event)),
      pool.on('applied', (event) => this.#log('info', 'config.applied', event)),
      pool.on('leaked', ({ server, heldMs }) => this.#log('warn', 'lease.leaked', { server, heldMs })),
    ];
    this.#stop = [
      () => void unsubscribe('mcp-poolkit:call', this.#onCall),
      () => void unsubscribe('mcp-poolkit:request', this.#onRequest),
      ...listening.map((each) => () => each[Symbol.dispose]()),
    ];
  }

  /** Stops to log. Idempotent. */
  close(): void {
    for (const stop of this.#stop.splice(0)) stop();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  readonly #onCall = (message: unknown): void => {
    const { phase, call, error } = message as CallTrace;
    if (call.pool !== this.#pool) return;
    if (phase === 'send') {
      if (this.#successes) this.#log('debug', 'call.sent', fieldsOf(call));
    } else if (phase === 'retry') {
      this.#log('warn', 'call.retried', { ...fieldsOf(call), error: errorFields(error) });
    } else if (phase === 'answer') this.#ended(call);
  };

  #ended(call: TracedCall): void {
    const { outcome, queuedMs, callMs, sentBytes, receivedBytes, error } = call;
    const fields = { ...fieldsOf(call), outcome, queuedMs, callMs, sentBytes, receivedBytes };
    if (outcome === 'ok') {
      if (this.#successes) this.#log('debug', 'call.done', fields);
    } else {
      const told = error === undefined ? fields : { ...fields, error: errorFields(error) };
      this.#log(EXPECTED.has(outcome ?? '') ? 'info' : 'warn', 'call.failed', told);
    }
  }

  readonly #onRequest = (message: unknown): void => {
    const { phase, request } = message as RequestTrace;
    if (phase !== 'end' || request.pool !== this.#pool) return;
    const { id: requestId, method, era, outcome, durationMs, error } = request;
    const fields = { requestId, method, ...named(request), era, outcome, durationMs };
    if (outcome === 'ok') {
      if (this.#successes) this.#log('debug', 'request.done', fields);
    } else {
      const told = error instanceof Error ? { ...fields, error: errorFields(error) } : fields;
      this.#log('info', 'request.failed', told);
    }
  };

  /** A logger that throws disturbs no call. */
  #log(level: 'debug' | 'info' | 'warn', event: LogEvent, fields: object): void {
    try {
      this.#logger[level]({ event, ...fields }, event);
    } catch {
      // There is nowhere to report a logger that fails.
    }
  }
}

function fieldsOf(call: TracedCall): object {
  const { id: callId, server, method, attempt, connection } = call;
  const requestId = (call.parent as Partial<TracedRequest> | undefined)?.id;
  return {
    ...(requestId !== undefined && { requestId }),
    callId,
    server,
    method,
    ...named(call),
    attempt,
    ...(connection !== undefined && { connection: connection.id }),
  };
}

/** A tool's or a prompt's name. */
function named({ method, target }: Pick<TracedCall, 'method' | 'target'>): object {
  if (target === undefined) return {};
  if (method === 'tools/call') return { tool: target };
  return method === 'prompts/get' ? { prompt: target } : {};
}
