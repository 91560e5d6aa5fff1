/**
 * The fewest members of `all` that still fail (delta debugging, Zeller and Hildebrandt 2002): halves first, then ever
 * smaller parts, each left out on trial. `fails` may be asked about any subset; `spent` ends the search early.
 */
export async function shrink<T>(
  all: readonly T[],
  fails: (subset: readonly T[]) => Promise<boolean>,
  spent: () => boolean = () => false,
): Promise<readonly T[]> {
  let left = all;
  if (left.length === 0 || spent()) return left;
  // What needs no rule at all is found at once.
  if (await fails([])) return [];
  let parts = 2;
  while (left.length >= 2 && !spent()) {
    const size = Math.ceil(left.length / parts);
    let smaller: readonly T[] | undefined;
    for (let from = 0; from < left.length && smaller === undefined && !spent(); from += size) {
      const without = [...left.slice(0, from), ...left.slice(from + size)];
      if (await fails(without)) smaller = without;
    }
    if (smaller !== undefined) {
      left = smaller;
      parts = Math.max(parts - 1, 2);
    } else if (size === 1) break;
    else parts = Math.min(parts * 2, left.length);
  }
  return left;
}
