#!/usr/bin/env node
import { runLastResort } from '../core/close/lastResort.js';
import { messageOf } from '../core/errors.js';
import { limitWarning, loadProgram } from './openFiles.js';
import { complain } from './output/complain.js';
import { openFilesLimit } from './serving/openFilesLimit.js';

// A reader of our output may stop reading, as `head` does: that is no failure. What cannot be written for another reason, such as
// a full disk or a terminal that is gone, makes the exit code 1; it ends neither calls nor servers.
let told = false;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return;
  process.exitCode = 1;
  if (!told) complain(`stdout cannot be written: ${error.message}`);
  told = true;
});
// There is no other place to say it.
process.stderr.on('error', () => undefined);

// However this process ends, but by a fatal signal, its servers end in the same turn.
process.on('exit', runLastResort);
// A fault of our own, in a command that does not stop in order by itself then (`ShutdownPlan.listen`).
process.on('uncaughtException', (error: unknown) => {
  if (process.listenerCount('uncaughtException') > 1) return;
  complain(messageOf(error));
  process.exit(1);
});

const limit = openFilesLimit();
const args = process.argv.slice(2);
const loading = args[0] === 'connect' ? import('./desk/connectProgram.js') : loadProgram(args, limit);
const program = await loading.catch((error: unknown) => {
  complain(messageOf(error));
  process.exitCode = 1;
});
if (program !== undefined) {
  const warning = limitWarning(limit);
  if (warning !== undefined) complain(warning);
  await program
    .createProgram()
    .parseAsync()
    .catch((error: unknown) => {
      const said = error instanceof Error && error.name === 'CommanderError';
      if (!said) complain(messageOf(error));
      // Not `process.exit`: what it wrote may still be on its way, or may turn out not to be writable.
      const exitCode = said ? (error as Error & { readonly exitCode: number }).exitCode : 1;
      if (exitCode !== 0) process.exitCode = exitCode;
    });
}
