/** So much was read that told nothing. */
export class NoProgress extends Error {}

/** What undici takes for impossible, such as a status of 000: it tells of an expression in its source. And OpenSSL of a line in its. */
export function ownWords(error: Error): Error {
  const { code, reason } = error as { readonly code?: unknown; readonly reason?: unknown };
  if (code === 'ERR_ASSERTION') return new NotHttp(error);
  if (typeof code !== 'string' || typeof reason !== 'string' || !/^(EPROTO$|ERR_SSL_)/.test(code)) return error;
  const plain = reason === 'wrong version number' ? ': its port speaks plain http, as it seems' : '';
  return new Error(`TLS failed, ${reason}${plain}`, { cause: error });
}

class NotHttp extends Error {
  constructor(cause: Error) {
    super('a status or a header that HTTP does not know', { cause });
  }
}

/** What came is no HTTP response, or has headers over their cap, or goes on without telling anything. */
export function brokenProtocol(error: Error): boolean {
  const { code } = error as { readonly code?: unknown };
  return (
    error instanceof NoProgress ||
    error instanceof NotHttp ||
    code === 'UND_ERR_HEADERS_OVERFLOW' ||
    (typeof code === 'string' && code.startsWith('HPE_'))
  );
}
