import { OptionError } from '../../../core/errors.js';
import { type CallSignal, signalOf } from '../../../core/wait/Cancellation.js';
import { META_CALL, stampOf } from '../../faults/events.js';
import type { History } from '../History.js';
import type { InvokeEvent } from '../HistoryEvent.js';
import { type CallHooks, CallRecorder, type Values } from './Recorder.js';
import type { RecordSettings } from './recordOptions.js';

/** A gateway: `Gateway` is one. */
export interface RecordableGateway {
  listen(): Promise<{ readonly url: string }>;
  announce(): void;
  close(options?: { readonly graceMs?: number }): Promise<void>;
}

/** A client's session as an endpoint of the gateway sees it. */
interface SessionOf {
  readonly key: string;
  readonly era: 'legacy' | 'modern';
  readonly principal?: string;
  notify(method: string, params: unknown): void;
  tell(method: string, params: unknown): void;
  ask?(options: { readonly method: string; readonly params?: unknown }): Promise<unknown>;
}

interface CallOf extends Omit<CallHooks, 'signal'> {
  readonly signal?: CallSignal;
  readonly paramsText?: string;
}

/** What stands behind one path of the gateway; methods are shadowed, so that it stays the object it is. */
interface EndpointOf {
  request(session: SessionOf, method: string, params: Values | undefined, call: CallOf): Promise<unknown>;
  relay(session: SessionOf, ...rest: readonly unknown[]): void;
  listen(client: unknown, filter: unknown, options: { readonly onNotification: (notice: Notice) => void }): unknown;
}

interface Notice {
  readonly method: string;
  readonly params?: unknown;
}

/** Gives each endpoint there is and each that is to come, once, with the server it is of; without one it is of them all. */
type Endpoints = (listener: (endpoint: EndpointOf, server: string | undefined) => void) => void;

/** A gateway whose clients' calls, what reaches them, and whose close are written down. Everything else is its own. */
export function recordGateway<G extends RecordableGateway>(gateway: G, history: History, settings: RecordSettings): G {
  const { onEndpoint } = gateway as { readonly onEndpoint?: Endpoints };
  if (onEndpoint === undefined) throw new OptionError('target', gateway, 'a Gateway of this package');
  const recorder = new GatewayRecorder(history, settings);
  onEndpoint.call(gateway, (endpoint, server) => recorder.follow(endpoint, server ?? 'all servers'));
  const { part } = settings;
  let closing: Promise<void> | undefined;
  const close = (options?: { readonly graceMs?: number }): Promise<void> => {
    const closed = gateway.close(options);
    if (closing === undefined) {
      history.add({ type: 'close', part });
      closing = closed.finally(() => history.add({ type: 'closed', part }));
    }
    return closing;
  };
  return new Proxy(gateway, {
    get(target, name) {
      if (name === 'close' || name === Symbol.asyncDispose) return close;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

class GatewayRecorder {
  readonly #history: History;
  readonly #settings: RecordSettings;
  readonly #known = new WeakSet<SessionOf>();

  constructor(history: History, settings: RecordSettings) {
    this.#history = history;
    this.#settings = settings;
  }

  follow(endpoint: EndpointOf, server: string): void {
    const { request, relay, listen } = endpoint;
    endpoint.request = (session, method, params, call) => {
      this.#watch(session, server);
      const recorder = this.#recorder(session, server, method, params, call);
      const { paramsText, ...rest } = recorder.options;
      const text = paramsText === undefined ? undefined : stampedText(paramsText, params, recorder.params);
      const options = text === undefined ? rest : { ...rest, paramsText: text };
      return recorder.settle(request.call(endpoint, session, method, recorder.params, options));
    };
    endpoint.relay = (session, ...rest) => {
      this.#watch(session, server);
      relay.call(endpoint, session, ...rest);
    };
    endpoint.listen = (client, filter, options) =>
      listen.call(endpoint, client, filter, {
        ...options,
        onNotification: (notice) => {
          this.#heard('notification', undefined, server, notice.method, notice.params);
          options.onNotification(notice);
        },
      });
  }

  #recorder(
    session: SessionOf,
    server: string,
    method: string,
    params: Values | undefined,
    { signal, ...hooks }: CallOf,
  ): CallRecorder<CallHooks & Pick<CallOf, 'paramsText'>> {
    const { stamp, withinMs, expect } = this.#settings;
    const tool = method === 'tools/call' ? params?.['name'] : undefined;
    const invoke: Omit<InvokeEvent, 'type' | 'call' | 'atMs'> = {
      ...this.#of(session),
      server,
      method,
      ...(typeof tool === 'string' && { tool }),
      ...(Number.isFinite(withinMs) && { withinMs }),
      ...(expect?.() === true && { expect: 'answer' }),
    };
    const call = signal === undefined ? hooks : { ...hooks, signal: signalOf(signal) };
    return new CallRecorder(this.#history, invoke, params, call, stamp);
  }

  /** From here on what reaches the session outside its calls is written down. */
  #watch(session: SessionOf, server: string): void {
    // In the modern era there is none: what stands for it is the same for all clients.
    if (session.era === 'modern' || this.#known.has(session)) return;
    this.#known.add(session);
    const { notify, tell, ask } = session;
    session.notify = (method, params) => {
      this.#heard('notification', session, server, method, params);
      notify.call(session, method, params);
    };
    session.tell = (method, params) => {
      this.#heard('notification', session, server, method, params);
      tell.call(session, method, params);
    };
    if (ask === undefined) return;
    session.ask = (options) => {
      this.#heard('request', session, server, options.method, options.params);
      return ask.call(session, options);
    };
  }

  #heard(
    type: 'notification' | 'request',
    session: SessionOf | undefined,
    server: string,
    method: string,
    params: unknown,
  ): void {
    const of = stampOf(params);
    this.#history.add({ type, ...this.#of(session), server, method, ...(of !== undefined && { of }) });
  }

  #of(session: SessionOf | undefined): Pick<InvokeEvent, 'part' | 'principal' | 'session'> {
    const { part } = this.#settings;
    if (session === undefined) return { part };
    const { principal, key, era } = session;
    return { part, ...(principal !== undefined && { principal }), ...(era === 'legacy' && { session: key }) };
  }
}

/**
 * The text of params with their stamp, so that what stands there passes as it came; undefined when there is a `_meta`
 * already, which has to be written anew.
 */
function stampedText(text: string, params: Values | undefined, stamped: Values): string | undefined {
  if (stamped === params) return text;
  const stamp = stampOf(stamped);
  if (params === undefined || Object.hasOwn(params, '_meta') || !text.trimStart().startsWith('{')) return undefined;
  const rest = text.trimStart().slice(1);
  const comma = Object.keys(params).length === 0 ? '' : ',';
  return `{"_meta":${JSON.stringify({ [META_CALL]: stamp })}${comma}${rest}`;
}
