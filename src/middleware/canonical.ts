/** A value as text that is the same for equal values, whatever the order of their members. */
export function canonical(value: unknown): string {
  return JSON.stringify(sorted(value)) ?? 'undefined';
}

/** An object becomes the array of its members, in the order of their names, so that neither can be taken for the other. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return [value.map(sorted)];
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, each]) => [key, sorted(each)]);
}
