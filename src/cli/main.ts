#!/usr/bin/env node
import { runLastResort } from '../core/close/lastResort.js';
import { messageOf } from '../core/errors.js';
import { limitWarning, loadProgram, openFilesLimit } from './openFiles.js';
import { visible } from './output/visible.js';

// A reader of our output may stop reading, as `head` does: that is no failure. What cannot be written for another reason, such as
// a full disk or a terminal that is gone, makes the exit code 1; it ends neither calls nor servers.
let told = false;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return;
  process.exitCode = 1;
  if (!told) process.stderr.write(`mcp-poolkit: stdout cannot be written: ${error.message}\n`);
  told = true;
});
// There is no other place to say it.
process.stderr.on('error', () => undefined);

// However this process ends, but by a fatal signal, its servers end in the same turn.
process.on('exit', runLastResort);
// A fault of our own, in a command that does not stop in order by itself then (`ShutdownPlan.listen`).
process.on('uncaughtException', (error: unknown) => {
  if (process.listenerCount('uncaughtException') > 1) return;
  process.stderr.write(`mcp-poolkit: ${visible(messageOf(error))}\n`);
  process.exit(1);
});

const limit = openFilesLimit();
const args = process.argv.slice(2);
const loading = args[0] === 'connect' ? import('./desk/connectProgram.js') : loadProgram(args, limit);
const program = await loading.catch((error: unknown) => {
  process.stderr.write(`mcp-poolkit: ${visible(messageOf(error))}\n`);
  process.exitCode = 1;
});
if (program !== undefined) {
  const warning = limitWarning(limit);
  if (warning !== undefined) process.stderr.write(`mcp-poolkit: ${warning}\n`);
  await program
    .createProgram()
    .parseAsync()
    .catch((error: unknown) => {
      if (!(error instanceof Error) || error.name !== 'CommanderError') throw error;
      // Not `process.exit`: what it wrote may still be on its way, or may turn out not to be writable.
      const { exitCode } = error as Error & { readonly exitCode: number };
      if (exitCode !== 0) process.exitCode = exitCode;
    });
}
