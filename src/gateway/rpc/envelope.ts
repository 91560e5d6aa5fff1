/** Newest first. Streamable HTTP came with the last of them. */
export const PROTOCOL_VERSIONS: readonly string[] = ['2025-11-25', '2025-06-18', '2025-03-26'];

/** The one version whose clients may send several messages in an array. */
export const BATCH_VERSION = '2025-03-26';

export type RpcId = string | number;
export type Params = Readonly<Record<string, unknown>>;

export interface RequestMessage {
  readonly kind: 'request';
  readonly id: RpcId;
  readonly method: string;
  readonly params: Params | undefined;
}

/** What one message of a client is. A response answers nothing here: the gateway asks its clients nothing. */
export type Incoming =
  | RequestMessage
  | { readonly kind: 'notification'; readonly method: string; readonly params: Params | undefined }
  | { readonly kind: 'response' }
  | { readonly kind: 'invalid'; readonly id: RpcId | null; readonly why: string };

const isObject = (value: unknown): value is Params =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Looks at the envelope alone: what is inside is the server's to judge. */
export function classify(message: unknown): Incoming {
  if (!isObject(message)) return { kind: 'invalid', id: null, why: 'a message is an object' };
  const { jsonrpc, id, method, params } = message;
  const known = typeof id === 'string' || typeof id === 'number' ? id : null;
  if (jsonrpc !== '2.0') return { kind: 'invalid', id: known, why: 'jsonrpc is "2.0"' };
  if (method === undefined && ('result' in message || 'error' in message)) return { kind: 'response' };
  if (typeof method !== 'string') return { kind: 'invalid', id: known, why: 'method is a string' };
  if (params !== undefined && !isObject(params)) return { kind: 'invalid', id: known, why: 'params is an object' };
  if (id === undefined) return { kind: 'notification', method, params };
  if (known === null) return { kind: 'invalid', id: null, why: 'id is a string or a number' };
  return { kind: 'request', id: known, method, params };
}

/** The client's own progress token, when it asked for progress. */
export function progressTokenOf(params: Params | undefined): RpcId | undefined {
  const meta = params?.['_meta'];
  const token = isObject(meta) ? meta['progressToken'] : undefined;
  return typeof token === 'string' || typeof token === 'number' ? token : undefined;
}
