/** A response's headers as they came: names and values in turn. */
export type RawHeaders = readonly Buffer[];

/** The value of `name` (lower case); the first when there are several. */
export function headerOf(headers: RawHeaders, name: string): string | undefined {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const key = headers[i] as Buffer;
    if (key.length === name.length && key.toString('latin1').toLowerCase() === name) {
      return (headers[i + 1] as Buffer).toString('latin1');
    }
  }
  return undefined;
}

/** What a body is, by its `Content-Type`. */
export function mediaTypeOf(headers: RawHeaders): 'json' | 'events' | 'other' {
  const value = headerOf(headers, 'content-type');
  if (value === undefined) return 'other';
  if (value.startsWith('application/json')) return 'json';
  if (value.startsWith('text/event-stream')) return 'events';
  const essence = (value.split(';')[0] ?? '').trim().toLowerCase();
  if (essence === 'application/json') return 'json';
  return essence === 'text/event-stream' ? 'events' : 'other';
}

/** `Retry-After` in ms from now: seconds or a date (RFC 9110, 10.2.3). Undefined when it is absent or neither. */
export function retryAfterMs(headers: RawHeaders, wallNowMs: number): number | undefined {
  const value = headerOf(headers, 'retry-after')?.trim();
  if (value === undefined || value === '') return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1_000;
  // Only the forms that begin with a day's name are dates; `Date.parse` alone takes almost anything.
  const atMs = /^[A-Z][a-z]{2,8},? /.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(atMs) ? undefined : Math.max(0, Math.ceil(atMs - wallNowMs));
}
