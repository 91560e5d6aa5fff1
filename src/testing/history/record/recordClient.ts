import { stampOf } from '../../faults/events.js';
import type { History } from '../History.js';
import type { InvokeEvent } from '../HistoryEvent.js';
import { CallRecorder, type Values } from './Recorder.js';
import type { RecordSettings } from './recordOptions.js';

/** An MCP client as the SDKs have it. */
export interface RecordableClient {
  // biome-ignore lint/suspicious/noExplicitAny: each SDK has its own types for these
  callTool(params: any, ...rest: any[]): Promise<any>;
  // biome-ignore lint/suspicious/noExplicitAny: each SDK has its own types for these
  request(request: any, ...rest: any[]): Promise<any>;
  close(): Promise<void>;
}

interface SdkOptions {
  readonly signal?: AbortSignal;
  readonly onprogress?: (progress: { readonly progress: number }) => void;
}

/** A client whose calls, handlers and close are written down. Everything else is the client's own. */
export function recordClient<C extends RecordableClient>(client: C, history: History, options: RecordSettings): C {
  const { part, principal, session } = options;
  const owner = { ...(principal !== undefined && { principal }), ...(session !== undefined && { session }) };
  const server = 'the client';
  const follow = (
    method: string,
    params: Values | undefined,
    rest: readonly unknown[],
    send: (params: Values, rest: readonly unknown[]) => Promise<unknown>,
  ): Promise<unknown> => {
    const place = optionsPlace(rest);
    const { signal, onprogress } = (rest[place] ?? {}) as SdkOptions;
    const tool = method === 'tools/call' ? params?.['name'] : undefined;
    const invoke: Omit<InvokeEvent, 'type' | 'call' | 'atMs'> = {
      part,
      ...owner,
      server,
      method,
      ...(typeof tool === 'string' && { tool }),
      ...(Number.isFinite(options.withinMs) && { withinMs: options.withinMs }),
      ...(options.expect?.() === true && { expect: 'answer' }),
    };
    const hooks = { ...(signal && { signal }), ...(onprogress && { onProgress: onprogress }) };
    const recorder = new CallRecorder(history, invoke, params, hooks, options.stamp);
    const hooked = [...rest];
    if (onprogress !== undefined) {
      hooked[place] = { ...(rest[place] as object), onprogress: recorder.options.onProgress };
    }
    return recorder.settle(send(recorder.params, hooked));
  };
  /** The handler is the last argument, whatever names what it handles. */
  const handled =
    (type: 'notification' | 'request', set: (...args: unknown[]) => unknown) =>
    (...args: unknown[]): unknown => {
      const handler = args.at(-1);
      if (typeof handler !== 'function') return set(...args);
      return set(...args.slice(0, -1), (message: { method?: string; params?: Values }, ...context: unknown[]) => {
        const of = stampOf(message.params);
        const method = message.method ?? 'unknown';
        history.add({ type, part, ...owner, server, method, ...(of !== undefined && { of }) });
        return handler(message, ...context) as unknown;
      });
    };
  const methods = new Map<string | symbol, (target: C) => unknown>([
    [
      'callTool',
      (target) =>
        (params: Values, ...rest: unknown[]) =>
          follow('tools/call', params, rest, (stamped, hooked) => target.callTool(stamped, ...hooked)),
    ],
    [
      'request',
      (target) =>
        (request: { method: string; params?: Values }, ...rest: unknown[]) =>
          follow(request.method, request.params, rest, (params, hooked) =>
            target.request({ ...request, params }, ...hooked),
          ),
    ],
    ['setNotificationHandler', (target) => handled('notification', methodOf(target, 'setNotificationHandler'))],
    ['setRequestHandler', (target) => handled('request', methodOf(target, 'setRequestHandler'))],
    [
      'close',
      (target) => async () => {
        history.add({ type: 'close', part });
        await target.close();
        history.add({ type: 'closed', part });
      },
    ],
  ]);
  return new Proxy(client, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return methods.get(name)?.(target) ?? value.bind(target);
    },
  });
}

function methodOf(target: object, name: string): (...args: unknown[]) => unknown {
  const method = Reflect.get(target, name, target) as (...args: unknown[]) => unknown;
  return method.bind(target);
}

/** Where the options stand behind the params: last, or nowhere yet; SDK v1 has a schema or nothing before them. */
function optionsPlace(rest: readonly unknown[]): number {
  const isOptions = (each: unknown): boolean =>
    typeof each === 'object' && each !== null && !('parse' in each) && !('~standard' in each);
  const place = rest.findLastIndex(isOptions);
  return place < 0 ? rest.length : place;
}
