import { CallResult } from '../../src/connection/calls/CallResult.js';
import type { Middleware, MiddlewareCall } from '../../src/connection/calls/Middleware.js';
import { MiddlewareChain } from '../../src/connection/calls/MiddlewareChain.js';

type Answer = (params: Readonly<Record<string, unknown>> | undefined, attempt: number) => unknown;

/** Calls through one middleware to a function, on behalf of a principal. */
export function through(middleware: Middleware, answer: Answer) {
  const chain = new MiddlewareChain();
  chain.use(middleware);
  let asked = 0;
  const call = (
    method: string,
    params?: Readonly<Record<string, unknown>>,
    {
      principal,
      signal,
      server = 's',
      from = 'client' as const,
      kind = 'request' as const,
      idempotent = false,
      text,
    } = {} as {
      /** The params as they were written. */
      text?: string;
      principal?: string;
      signal?: AbortSignal;
      server?: string;
      from?: 'client' | 'server';
      kind?: 'request' | 'notification';
      idempotent?: boolean;
    },
  ): Promise<CallResult> => {
    const caller = principal === undefined ? undefined : { principal };
    const origin = { kind, from, server, method, caller, idempotent, era: () => undefined };
    const end = async (passed: MiddlewareCall): Promise<CallResult> => {
      passed.signal.throwIfAborted();
      asked++;
      return CallResult.of(await answer(passed.params, passed.attempt), server);
    };
    return chain.run(origin, params, signal === undefined ? {} : { signal }, end, text);
  };
  return { call, asked: () => asked };
}

export const bytes = (value: unknown): Uint8Array =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
