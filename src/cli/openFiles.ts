import { createRequire } from 'node:module';

/** Below it modules are loaded one by one: `import` opens all that a module names at once, 60 files in one place. */
const LOW_LIMIT = 256;
/** What signs in is loaded later by `import`. */
const SIGN_IN = './auth/oauthOf.js';
const COMMANDS = {
  serve: ['./serve.js', SIGN_IN],
  call: ['./call.js', SIGN_IN],
  doctor: ['./doctor/doctor.js', SIGN_IN],
  bench: ['./bench/bench.js'],
};

/**
 * The program's modules, also where few files may be open: `require` opens one at a time, and what it has loaded is not
 * loaded again by `import`.
 * @throws an error that says what to do when even that is too much
 */
export async function loadProgram(
  args: readonly string[],
  limit: number | undefined,
): Promise<typeof import('./program.js')> {
  if (limit === undefined || limit >= LOW_LIMIT) return import('./program.js');
  try {
    const require = createRequire(import.meta.url);
    for (const [command, wanted] of Object.entries(COMMANDS))
      if (args.includes(command)) for (const file of wanted) require(file);
    return require('./program.js') as typeof import('./program.js');
  } catch (error) {
    // No import of our own here: this file must load when nothing else can.
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`too few files may be open to start: ${limit} (see ulimit -n); ${why}`, { cause: error });
  }
}

/** What a person should know who runs it under such a limit; undefined when there is nothing to say. */
export function limitWarning(limit: number | undefined): string | undefined {
  if (limit === undefined || limit >= LOW_LIMIT) return undefined;
  return `warning: only ${limit} files may be open (see ulimit -n): each server takes 3, each client 1; what does not fit is refused`;
}
