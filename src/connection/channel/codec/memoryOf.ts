/** What a value takes beside its text: a member's place, a header. */
const VALUE_BYTES = 64;

/** What a parsed JSON value takes in memory, in bytes, about, or something beyond `max`. With a stack of its own: depth is the sender's choice. */
export function memoryOf(value: unknown, max = Number.POSITIVE_INFINITY): number {
  let bytes = 0;
  for (const pending = [value]; pending.length > 0 && bytes <= max; ) {
    const each = pending.pop();
    bytes += VALUE_BYTES;
    if (typeof each === 'string') bytes += 2 * each.length;
    if (typeof each !== 'object' || each === null) continue;
    if (Array.isArray(each)) for (const inner of each) pending.push(inner);
    else
      for (const [key, inner] of Object.entries(each)) {
        bytes += 2 * key.length;
        pending.push(inner);
      }
  }
  return bytes;
}
