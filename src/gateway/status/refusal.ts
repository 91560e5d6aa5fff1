import type { IncomingMessage } from 'node:http';

/**
 * Why a request that a browser makes must not come in: only a page of this very origin may ask, whatever `allowedOrigins` lets
 * reach `/mcp`. A browser says where a request comes from (Fetch Metadata, `Sec-Fetch-Site`); older ones say so in `Origin`.
 */
export function refusalOf({ headers, method }: IncomingMessage): 403 | undefined {
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') {
    // A link from elsewhere may open the page, in a window of its own: it is told nothing of it.
    const opened = headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
    if (!opened || method !== 'GET') return 403;
  }
  const { origin, host } = headers;
  if (origin === undefined) return undefined;
  return origin === `http://${host}` || origin === `https://${host}` ? undefined : 403;
}

/** Whether something in front says that it hands a request on for another. */
export const isForwarded = ({ headers }: IncomingMessage): boolean =>
  (headers['x-forwarded-for'] ?? headers.forwarded ?? headers.via) !== undefined;
