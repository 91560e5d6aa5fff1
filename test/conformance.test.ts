import { expect, test } from 'vitest';
// @ts-expect-error: a script without types
import { findSuites } from '../scripts/conformance/suites.mjs';
import { Program } from './support/program.js';

// `node scripts/conformance/install.mjs` gets them, as `.ci/run` does; all cells are `.ci/conformance`.
test.skipIf(findSuites() === undefined)(
  'the official suites pass a few cells as docs/conformance.md says',
  async () => {
    const program = new Program('scripts/conformance.mjs', { args: ['--short', '--check'] });
    const { code } = await program.exited;
    expect({ code, stderr: program.stderr }).toEqual({ code: 0, stderr: '' });
    // One that was slow is run once more.
    const cells = program.lines.flatMap((line) => /^(.*): \d+ checks/.exec(line)?.[1] ?? []);
    expect(new Set(cells).size).toBe(3);
  },
  120_000,
);
