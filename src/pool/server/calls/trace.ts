import { channel } from 'node:diagnostics_channel';
import type { Params } from '../../../connection/protocol/messages.js';

/**
 * What subscribers of the diagnostics channel `mcp-poolkit:call` get: `queue` when a call is accepted, `send` when it
 * is handed to a connection (again for a call that is sent again), `answer` at its end, with the error if it failed.
 */
export interface CallTrace {
  readonly phase: 'queue' | 'send' | 'answer';
  readonly server: string;
  readonly method: string;
  /** The same object at every phase of one call. */
  readonly call: object;
  readonly error?: unknown;
  /** W3C trace context of the call's `_meta`. */
  readonly traceparent?: string;
}

/** Calls are followed only while it has subscribers. */
export const callChannel = channel('mcp-poolkit:call');

/** Follows one call. */
export class CallTracer {
  readonly #base: Omit<CallTrace, 'phase'>;

  constructor(server: string, method: string, params: Params | undefined) {
    const traceparent = (params?.['_meta'] as { readonly traceparent?: string } | undefined)?.traceparent;
    this.#base = { server, method, call: {}, ...(traceparent !== undefined && { traceparent }) };
    this.#tell('queue');
  }

  /** It is handed to a connection. */
  sent(): void {
    this.#tell('send');
  }

  answered(error?: unknown): void {
    if (error === undefined) this.#tell('answer');
    else callChannel.publish({ phase: 'answer', ...this.#base, error } satisfies CallTrace);
  }

  #tell(phase: CallTrace['phase']): void {
    callChannel.publish({ phase, ...this.#base } satisfies CallTrace);
  }
}
