import type { IncomingMessage } from 'node:http';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Failure } from '../rpc/failure.js';

/** It refuses what comes now, and ends when what is in flight is answered. */
export const isClosing = ({ statusCode, headers }: IncomingMessage): boolean =>
  statusCode === 503 && headers.connection === 'close';

/** A message without method answers; the others ask or tell. */
export function isAnswer(text: string): boolean {
  const { method, ...rest } = JSON.parse(text) as Readonly<Record<string, unknown>>;
  return method === undefined && ('result' in rest || 'error' in rest);
}

/** The error in a refusal, which may name no id. */
export function refusalOf(text: string, status: number): Failure {
  try {
    const { error } = JSON.parse(text) as { readonly error?: Failure };
    if (typeof error?.code === 'number' && typeof error.message === 'string') return error;
  } catch {
    // Something between answered, in its own way.
  }
  return { code: RPC_CODES.invalidRequest, message: `the gateway answered with HTTP ${status}` };
}
