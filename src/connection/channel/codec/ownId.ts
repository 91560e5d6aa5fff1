/** Ids of ours are whole numbers from 1; more digits than this are no id. */
const MAX_DIGITS = 15;

/**
 * An id or progress token that a peer sent, as the number we gave out; undefined for anything else. Some servers and
 * bridges send our numbers back as strings, which both official SDKs take.
 */
export function ownId(id: unknown): number | undefined {
  if (typeof id === 'number') return id;
  return typeof id === 'string' && id.length <= MAX_DIGITS && /^[1-9]\d*$/.test(id) ? Number(id) : undefined;
}

/**
 * An object of a message: `undefined` and `null` are absent; `false` when it is there and no object. An empty array is an empty one: PHP writes
 * `[]` for it.
 */
export function objectMember(value: unknown): Readonly<Record<string, unknown>> | undefined | false {
  if (value === undefined || value === null) return undefined;
  if (Array.isArray(value)) return value.length === 0 && {};
  return typeof value === 'object' && (value as Record<string, unknown>);
}
