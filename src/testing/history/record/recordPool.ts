import type { Listener } from '../../../core/events.js';
import type { Caller, ConnectionLease, McpPool, PoolEvents, RequestOptions } from '../../../pool/McpPool.js';
import { mayRepeat } from '../../../pool/server/calls/callPolicy.js';
import { stampOf } from '../../faults/events.js';
import { aliveInGroups } from '../../procfs.js';
import type { History } from '../History.js';
import type { InvokeEvent } from '../HistoryEvent.js';
import { CallRecorder, type Values } from './Recorder.js';
import type { RecordSettings } from './recordOptions.js';

const TYPED: ReadonlySet<string | symbol> = new Set(['callTool', 'readResource', 'getPrompt', 'complete']);

type Send = (server: string, method: string, params?: Values, options?: RequestOptions) => Promise<unknown>;

/** A pool whose calls, leases, notifications and close are written down. Everything else is the pool's own. */
export function recordPool<P extends McpPool>(pool: P, history: History, options: RecordSettings): P {
  const recorder = new PoolRecorder(pool, history, options);
  return new Proxy(pool, {
    get(target, name, receiver) {
      const own = recorder.methods.get(name);
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(target, name, target);
      // The typed calls are made of `request`: of the recorded one.
      return typeof value === 'function' ? value.bind(TYPED.has(name) ? receiver : target) : value;
    },
  });
}

class PoolRecorder {
  readonly #pool: McpPool;
  readonly #history: History;
  readonly #options: RecordSettings;
  /** Every process of the pool: the leaders of their groups. */
  readonly #pids = new Set<number>();
  readonly methods: ReadonlyMap<string | symbol, unknown>;
  #closing: Promise<void> | undefined;

  constructor(pool: McpPool, history: History, options: RecordSettings) {
    this.#pool = pool;
    this.#history = history;
    this.#options = options;
    pool.on('started', ({ pid }) => {
      if (pid !== undefined) this.#pids.add(pid);
    });
    this.methods = new Map<string | symbol, unknown>([
      ['request', (...args: Parameters<Send>) => this.#request(pool.request.bind(pool), ...args)],
      ['lease', (...args: Parameters<McpPool['lease']>) => this.#lease(...args)],
      ['subscribe', (...args: Parameters<McpPool['subscribe']>) => this.#subscribe(...args)],
      ['on', (event: keyof PoolEvents, listener: Listener<PoolEvents[keyof PoolEvents]>) => this.#on(event, listener)],
      ['close', (...args: Parameters<McpPool['close']>) => this.#close(...args)],
      [Symbol.asyncDispose, () => this.#close()],
    ]);
  }

  #request(
    send: Send,
    server: string,
    method: string,
    params: Values | undefined,
    options: RequestOptions = {},
  ): Promise<unknown> {
    const { stamp, withinMs, expect } = this.#options;
    const tool = method === 'tools/call' ? params?.['name'] : undefined;
    const idempotent = mayRepeat(method, params, options, this.#pool.config(server) ?? {});
    const invoke: Omit<InvokeEvent, 'type' | 'call' | 'atMs'> = {
      ...this.#of(options.caller),
      server,
      method,
      ...(typeof tool === 'string' && { tool }),
      ...(idempotent && { idempotent }),
      ...(Number.isFinite(withinMs) && { withinMs }),
      ...(expect?.() === true && { expect: 'answer' }),
    };
    const recorder = new CallRecorder(this.#history, invoke, params, options, stamp);
    return recorder.settle(send(server, method, recorder.params, recorder.options));
  }

  async #lease(...[server, options]: Parameters<McpPool['lease']>): Promise<ConnectionLease> {
    const lease = await this.#pool.lease(server, options);
    const caller = options?.caller;
    const recorded = {
      request: (method: string, params?: Values, own: RequestOptions = {}) =>
        this.#request(
          (_, ...args) => lease.request(...args),
          server,
          method,
          params,
          caller === undefined ? own : { ...own, caller },
        ),
    };
    return new Proxy(lease, {
      get(target, name) {
        if (Object.hasOwn(recorded, name)) return Reflect.get(recorded, name);
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  #subscribe(...[server, filter, options]: Parameters<McpPool['subscribe']>): ReturnType<McpPool['subscribe']> {
    const { caller, onNotification } = options;
    return this.#pool.subscribe(server, filter, {
      ...options,
      onNotification: (notice) => {
        this.#heard('notification', server, notice.method, notice.params, caller);
        onNotification(notice);
      },
    });
  }

  #on(event: keyof PoolEvents, listener: Listener<PoolEvents[keyof PoolEvents]>): Disposable {
    return this.#pool.on(event, (payload) => {
      if (event === 'notification') {
        const { server, principal, key, notice } = payload as PoolEvents['notification'];
        this.#heard('notification', server, notice.method, notice.params, callerOf(principal, key));
      } else if (event === 'orphanRequest') {
        const { server, principal, key, request } = payload as PoolEvents['orphanRequest'];
        this.#heard('request', server, request.method, request.params, callerOf(principal, key));
      }
      listener(payload);
    });
  }

  #heard(
    type: 'notification' | 'request',
    server: string,
    method: string,
    params: Values | undefined,
    caller: Caller | undefined,
  ): void {
    const of = stampOf(params);
    this.#history.add({ type, ...this.#of(caller), server, method, ...(of !== undefined && { of }) });
  }

  #of(caller: Caller | undefined): Pick<InvokeEvent, 'part' | 'principal' | 'session'> {
    const { part } = this.#options;
    const { principal, key: session } = caller ?? {};
    return { part, ...(principal !== undefined && { principal }), ...(session !== undefined && { session }) };
  }

  /** The pool's own promise may be asked for many times: the close is written down once. */
  #close(...args: Parameters<McpPool['close']>): Promise<void> {
    const { part } = this.#options;
    const closed = this.#pool.close(...args);
    if (this.#closing === undefined) {
      this.#history.add({ type: 'close', part });
      this.#closing = closed.finally(() => {
        this.#history.add({ type: 'closed', part });
        for (const what of aliveInGroups(this.#pids)) this.#history.add({ type: 'alive', part, what });
      });
    }
    return this.#closing;
  }
}

function callerOf(principal: string | undefined, key: string | undefined): Caller {
  return { ...(principal !== undefined && { principal }), ...(key !== undefined && { key }) };
}
