/** So much was read that told nothing. */
export class NoProgress extends Error {
  constructor(bytes: number) {
    super(`${bytes} bytes of it in a row are neither header nor body`);
  }
}

/** What came is no HTTP response, or has headers over their cap, or goes on without telling anything. */
export function brokenProtocol(error: Error): boolean {
  const { code } = error as { readonly code?: unknown };
  return (
    error instanceof NoProgress ||
    code === 'UND_ERR_HEADERS_OVERFLOW' ||
    (typeof code === 'string' && code.startsWith('HPE_'))
  );
}
