/** Runs of each property test: `POOLKIT_RUNS` when it is set, as the long run does, else 500. */
export const RUNS = Number(process.env['POOLKIT_RUNS'] ?? 500);

if (!Number.isInteger(RUNS) || RUNS < 1) {
  throw new Error(`POOLKIT_RUNS: got ${process.env['POOLKIT_RUNS']}, expected a whole number, 1 or more`);
}
