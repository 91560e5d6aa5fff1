import type { Closeable } from '../../src/core/close/CloseScope.js';

const parts: Closeable[] = [];

/** Has `part` closed at the end of the test, before leaks are looked for. The last one made is closed first. */
export function closeAfter<T extends Closeable>(part: T): T {
  parts.push(part);
  return part;
}

/** For the test setup alone: closes them all whatever fails, then throws what did. */
export async function closeAll(): Promise<void> {
  const errors: unknown[] = [];
  for (const part of parts.splice(0).reverse()) await part.close({ graceMs: 0 }).catch((error) => errors.push(error));
  if (errors.length > 0) throw new AggregateError(errors, 'parts did not close cleanly');
}
