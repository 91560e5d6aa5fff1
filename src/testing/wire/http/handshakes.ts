/** Requests that begin a session, or what stands for one in the modern era: over HTTP they are the starts of a plan. */
export const HANDSHAKES: ReadonlySet<string> = new Set(['initialize', 'server/discover']);

/** How late the answer to a slow start is, in ms. */
export const SLOW_START_MS = 500;
