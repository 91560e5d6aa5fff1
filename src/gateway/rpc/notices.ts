import { exactText, textWith } from '../../connection/channel/codec/exactText.js';
import { rewritten } from '../../connection/channel/codec/members.js';
import type { Progress } from '../../pool/McpPool.js';

/** What a client is told or asked. */
export interface Told {
  readonly id?: string;
  readonly method: string;
  readonly params?: unknown;
}

/** It as JSON text, with its params as they came. */
export function toldText({ id, method, params }: Told): string {
  const head = `{"jsonrpc":"2.0",${id === undefined ? '' : `"id":${JSON.stringify(id)},`}"method":${JSON.stringify(method)}`;
  return params === undefined ? `${head}}` : `${head},"params":${exactText(params)}}`;
}

/** Progress of a call, under its client's own token, which is JSON text. */
export function progressText(tokenText: string, progress: Progress): string {
  const token = { progressToken: tokenText };
  const params = textWith(progress, token) ?? rewritten(JSON.stringify(progress), token);
  return `{"jsonrpc":"2.0","method":"notifications/progress","params":${params}}`;
}
