import type { Progress } from '../../pool/McpPool.js';

/** A message with that method and those params, for a client. */
export const noticeMessage = (method: string, params: unknown): string =>
  JSON.stringify({ jsonrpc: '2.0', method, ...(params === undefined ? {} : { params }) });

/** Progress of a call, under its client's own token, which is JSON text. */
export function progressMessage(tokenText: string, { progressToken: _, ...progress }: Progress): string {
  const params = JSON.stringify(progress);
  const rest = params === '{}' ? '' : `,${params.slice(1, -1)}`;
  return `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${tokenText}${rest}}}`;
}
