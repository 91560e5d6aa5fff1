import { type FetchLike, LATEST_PROTOCOL_VERSION } from '@modelcontextprotocol/client';

/**
 * The members of a JSON object, without those that are null or an empty text: such are written for what is not there. Undefined for
 * anything else.
 */
export function membersOf(json: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== null && each !== ''));
  } catch {
    return undefined;
  }
}

/**
 * The first document that is at one of these places. Undefined where none is: where each answers that it has nothing (4xx), or with
 * something else than an object of JSON, as sites do that have one page for all paths.
 * @throws what `fetch` does, and where one that failed may have it
 */
export async function documentAt(
  places: readonly URL[],
  fetch: FetchLike,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const headers = { accept: 'application/json', 'mcp-protocol-version': LATEST_PROTOCOL_VERSION };
  let failed: Error | undefined;
  for (const place of places) {
    const response = await fetch(place, { headers });
    const members = response.ok ? membersOf(await response.text()) : undefined;
    if (members !== undefined) return members;
    if (response.status >= 500) failed ??= new Error(`HTTP ${response.status} at ${place.href}`);
  }
  if (failed !== undefined) throw failed;
  return undefined;
}
