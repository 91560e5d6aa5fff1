import type { Progress, RequestHandler, ServerNotice } from '../../../connection/protocol/messages.js';
import { type Acted, ERROR_CODES, type ErrorCode, messageOf, PoolkitError, RpcError } from '../../../core/errors.js';
import { META_CALL, stampOf } from '../../faults/events.js';
import type { History } from '../History.js';
import type { InvokeEvent } from '../HistoryEvent.js';

export type Values = Readonly<Record<string, unknown>>;

/** The hooks of a call, as every part of the toolkit takes them. */
export interface CallHooks {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  readonly onNotification?: (notice: ServerNotice) => void;
  readonly onRequest?: RequestHandler;
}

/** The same of a result as it came: `raw` ones are bytes. */
function stampOfResult(result: unknown): string | undefined {
  if (!(result instanceof Uint8Array)) return stampOf(result);
  // Only what bears the mark is parsed: large results stay unparsed.
  const text = Buffer.from(result.buffer, result.byteOffset, result.byteLength);
  if (!text.includes(META_CALL)) return undefined;
  try {
    return stampOf(JSON.parse(text.toString()));
  } catch {
    return undefined; // not JSON: another rule's business
  }
}

/** Writes one call down from its start to its end, and stamps it so that its server can say whose it is. */
export class CallRecorder<H extends CallHooks> {
  readonly params: Values;
  readonly options: H;
  readonly #history: History;
  readonly #call: string;
  readonly #signal: AbortSignal | undefined;
  #pending = true;
  #immediate: NodeJS.Immediate | undefined;

  constructor(
    history: History,
    invoke: Omit<InvokeEvent, 'type' | 'call' | 'atMs'>,
    params: Values | undefined,
    options: H,
    stamp: boolean,
  ) {
    this.#history = history;
    this.#signal = options.signal;
    const outer = stampOf(params);
    // A call that a gateway makes for another keeps the first one's stamp.
    const call = outer === undefined ? history.nextCall() : `${outer}/${history.nextCall()}`;
    this.#call = call;
    this.params =
      stamp && outer === undefined
        ? { ...params, _meta: { ...(params?.['_meta'] as Values | undefined), [META_CALL]: call } }
        : (params ?? {});
    this.options = this.#hooked(options, invoke.server);
    history.add({ type: 'invoke', call, ...invoke });
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (this.#signal?.aborted === true) this.#cancelled();
  }

  async settle(result: Promise<unknown>): Promise<unknown> {
    try {
      const value = await result;
      const of = stampOfResult(value);
      this.#end();
      this.#history.add({ type: 'answer', call: this.#call, ...(of !== undefined && { of }) });
      return value;
    } catch (error) {
      if (this.#end()) this.#history.add({ type: 'cancel', call: this.#call });
      this.#history.add({ type: 'failure', call: this.#call, ...failureOf(error) });
      throw error;
    }
  }

  /** True when it was aborted in this very turn, and that is not written down yet. */
  #end(): boolean {
    this.#pending = false;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    const due = this.#immediate !== undefined;
    clearImmediate(this.#immediate);
    this.#immediate = undefined;
    return due;
  }

  /** An answer that was there before the abort may still be on its way to the caller, by promises: one turn at most. */
  readonly #onAbort = (): void => {
    this.#immediate = setImmediate(() => {
      this.#immediate = undefined;
      if (this.#pending) this.#cancelled();
    });
  };

  #cancelled(): void {
    this.#history.add({ type: 'cancel', call: this.#call });
  }

  #hooked(options: H, server: string): H {
    const { onProgress, onNotification, onRequest } = options;
    const call = this.#call;
    const history = this.#history;
    const heard = (type: 'notification' | 'request', method: string, params: unknown): void => {
      const of = stampOf(params);
      history.add({ type, call, server, method, ...(of !== undefined && { of }) });
    };
    return {
      ...options,
      ...(onProgress && {
        onProgress: (progress: Progress) => {
          const of = stampOf(progress);
          history.add({ type: 'progress', call, progress: progress.progress, ...(of !== undefined && { of }) });
          onProgress(progress);
        },
      }),
      ...(onNotification && {
        onNotification: (notice: ServerNotice) => {
          heard('notification', notice.method, notice.params);
          onNotification(notice);
        },
      }),
      ...(onRequest && {
        onRequest: (request: Parameters<RequestHandler>[0], context: Parameters<RequestHandler>[1]) => {
          heard('request', request.method, request.params);
          return onRequest(request, context);
        },
      }),
    };
  }
}

/** What an error says, also one that a gateway sends on: `data.code` is the code of its own failure. */
function failureOf(error: unknown): { code: string; acted?: Acted; message: string; of?: string } {
  const message = messageOf(error).slice(0, 200);
  if (error instanceof RpcError) {
    const of = stampOf(error.data);
    if (of !== undefined)
      return { code: error.code, ...(error.acted !== undefined && { acted: error.acted }), message, of };
    const inner = (error.data as { readonly code?: unknown } | null | undefined)?.code;
    if (typeof inner === 'string' && Object.hasOwn(ERROR_CODES, inner)) {
      const { acted } = ERROR_CODES[inner as ErrorCode];
      return { code: inner, ...(acted !== undefined && { acted }), message };
    }
  }
  if (error instanceof PoolkitError) {
    return { code: error.code, ...(error.acted !== undefined && { acted: error.acted }), message };
  }
  return { code: error instanceof Error ? error.name : 'thrown', message };
}
