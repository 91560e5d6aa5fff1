/** A value as text that is the same for equal values, whatever the order of their members. */
export function canonical(value: unknown): string {
  return JSON.stringify(sorted(value)) ?? 'undefined';
}

/** An object becomes the array of its members, in the order of their names; what an array begins with says what it stands for. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return ['[', ...value.map(sorted)];
  if (typeof value !== 'object' || value === null) return value;
  if (!isPlain(value)) return sorted(JSON.parse(JSON.stringify(value) ?? 'null'));
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return ['{', ...members.map(([key, each]) => [key, sorted(each)])];
}

/** Whether JSON makes of an object what its members are: of a date it does not. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return (
    (prototype === Object.prototype || prototype === null) &&
    typeof (value as { toJSON?: unknown }).toJSON !== 'function'
  );
}

/** Whether numbers in it say all that was written: others beyond 2^53 are read as the same. */
export function isExact(value: unknown): boolean {
  if (typeof value === 'number')
    return Number.isSafeInteger(value) || (Number.isFinite(value) && !Number.isInteger(value));
  if (typeof value !== 'object' || value === null) return true;
  return Object.values(value).every(isExact);
}
