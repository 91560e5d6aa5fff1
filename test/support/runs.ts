/** How often a property is tried: 500 times, or as the environment says (`npm run test:long`). */
export const RUNS = Number(process.env['POOLKIT_RUNS'] ?? 500);
