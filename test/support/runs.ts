/** Runs of each property test: `POOLKIT_RUNS` when it is set, as the long run does, else as many as find every mutant (`scripts/mutants.mjs`). */
export const RUNS = Number(process.env['POOLKIT_RUNS'] ?? 150);

if (!Number.isInteger(RUNS) || RUNS < 1) {
  throw new Error(`POOLKIT_RUNS: got ${process.env['POOLKIT_RUNS']}, expected a whole number, 1 or more`);
}

/** Whether this is the long form, `npm run test:long`: all of a product of cases, of which `npm test` runs what covers each pair. */
export const WHOLE = RUNS > 1_000;

/** How long a property test may take, in ms: the runner's own limit is for one run. */
export const RUNS_TIMEOUT_MS = 20_000 + 20 * RUNS;
