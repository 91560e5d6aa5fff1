import { spawnSync } from 'node:child_process';

/** Whether this machine has a program of those that `deploy/` is for. Where it has not, tests are skipped, loudly; on CI that is a failure. */
export function have(program: string): boolean {
  if (spawnSync(program, ['-v']).status === 0) return true;
  const message = `${program} is missing: deploy/ IS NOT TESTED. On Debian: apt-get install ${program}`;
  if (process.env['CI'] === 'true') throw new Error(message);
  console.error(`\n*** ${message} ***\n`);
  return false;
}
