/** The names closest to `wanted`, never more than three, none that differs by more than a third. */
export function nearNames(wanted: string, names: Iterable<string>): string[] {
  const farthest = Math.max(1, Math.floor(wanted.length / 3));
  return [...names]
    .filter((name) => name.length <= 128)
    .map((name) => ({ name, distance: distance(wanted.toLowerCase(), name.toLowerCase(), farthest) }))
    .filter((each) => each.distance <= farthest)
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map((each) => each.name);
}

/** Whether `max` edits or fewer turn `a` into `b`. The time grows with the length times `max`, and ends with the first letters of most words. */
export const isNear = (a: string, b: string, max: number): boolean => distance(a, b, max) <= max;

/** Edits (insert, delete, replace) that turn `a` into `b`; more than `max` where they are more. */
function distance(a: string, b: string, max: number): number {
  const more = max + 1;
  if (Math.abs(a.length - b.length) > max) return more;
  // By how much further the place in `b` is than the one in `a`, from -max to max: places farther apart take more edits.
  const row = new Array<number>(2 * max + 3).fill(more);
  for (let shift = 0; shift <= max; shift++) row[max + 1 + shift] = shift;
  for (let i = 1; i <= a.length; i++) {
    let fewest = more;
    for (let at = 1; at <= 2 * max + 1; at++) {
      const j = i + at - max - 1;
      if (j < 0 || j > b.length) row[at] = more;
      else {
        // This one and the next are of the row above still.
        const replaced = j === 0 ? more : (row[at] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
        row[at] = Math.min(replaced, (row[at - 1] as number) + 1, (row[at + 1] as number) + 1);
      }
      fewest = Math.min(fewest, row[at] as number);
    }
    if (fewest > max) return more;
  }
  return row[max + 1 + b.length - a.length] as number;
}
