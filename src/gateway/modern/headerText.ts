const WRAPPED = /^=\?base64\?(.*)\?=$/s;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * What a header's value says: itself, or the UTF-8 text whose base64 stands between `=?base64?` and `?=` (2026-07-28, Streamable
 * HTTP, value encoding). Undefined for what is no valid base64 or no UTF-8.
 */
export function decodedHeader(value: string): string | undefined {
  const encoded = WRAPPED.exec(value)?.[1];
  if (encoded === undefined) return value;
  if (!BASE64.test(encoded)) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(encoded, 'base64'));
  } catch {
    return undefined;
  }
}
