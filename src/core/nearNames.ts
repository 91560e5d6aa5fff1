/** The names closest to `wanted`, never more than three, none that differs by more than a third. */
export function nearNames(wanted: string, names: Iterable<string>): string[] {
  const farthest = Math.max(1, Math.floor(wanted.length / 3));
  return [...names]
    .filter((name) => Math.abs(name.length - wanted.length) <= farthest && name.length <= 128)
    .map((name) => ({ name, distance: distance(wanted.toLowerCase(), name.toLowerCase()) }))
    .filter((each) => each.distance <= farthest)
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map((each) => each.name);
}

/** Whether `max` edits or fewer turn `a` into `b`. The time grows with both lengths: for words, not for texts. */
export const isNear = (a: string, b: string, max: number): boolean =>
  Math.abs(a.length - b.length) <= max && distance(a, b) <= max;

/** Edits (insert, delete, replace) that turn `a` into `b`. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const above = row;
    row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (above[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, (above[j] as number) + 1, (row[j - 1] as number) + 1));
    }
  }
  return row[b.length] as number;
}
