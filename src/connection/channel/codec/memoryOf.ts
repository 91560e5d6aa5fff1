/** What a value takes beside its text: a member's place, a header. */
const VALUE_BYTES = 64;

/** What a parsed JSON value takes in memory, in bytes, about. With a stack of its own: depth is the sender's choice. */
export function memoryOf(value: unknown): number {
  let bytes = 0;
  for (const pending = [value]; pending.length > 0; ) {
    const each = pending.pop();
    bytes += VALUE_BYTES;
    if (typeof each === 'string') bytes += 2 * each.length;
    if (typeof each !== 'object' || each === null) continue;
    for (const [key, inner] of Object.entries(each)) {
      if (!Array.isArray(each)) bytes += 2 * key.length;
      pending.push(inner);
    }
  }
  return bytes;
}
