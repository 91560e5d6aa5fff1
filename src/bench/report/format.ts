/** Milliseconds as people read them: three digits and the unit that fits. */
export function ms(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return '-';
  if (value >= 10_000) return `${three(value / 1_000)} s`;
  return value >= 1 ? `${three(value)} ms` : `${three(value * 1_000)} µs`;
}

export function perSec(value: number): string {
  return `${count(value)}/s`;
}

export function count(value: number): string {
  if (!Number.isFinite(value)) return '-';
  if (value >= 1_000_000) return `${three(value / 1_000_000)}M`;
  return value >= 10_000
    ? `${three(value / 1_000)}k`
    : value >= 100 || Number.isInteger(value)
      ? value.toFixed(0)
      : three(value);
}

export function bytes(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return '-';
  if (value >= 2 ** 30) return `${three(value / 2 ** 30)} GiB`;
  return value >= 2 ** 20 ? `${three(value / 2 ** 20)} MiB` : `${three(value / 1_024)} KiB`;
}

export function percent(ratio: number): string {
  if (!Number.isFinite(ratio)) return ratio > 0 ? 'from 0' : '-';
  return `${three(ratio * 100)} %`;
}

/** `x1.25`: a ratio to the first of a group. */
export const times = (ratio: number): string => (Number.isFinite(ratio) ? `x${three(ratio)}` : '-');

function three(value: number): string {
  if (value === 0) return '0';
  const text = Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
  return text.includes('e') ? String(Number(text)) : text;
}

/** Columns of text under each other, the first one to the left, the others to the right. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => rows.reduce((most, row) => Math.max(most, row[i]?.length ?? 0), 0));
  return rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}
