#!/usr/bin/env node
import { limitWarning, loadProgram, openFilesLimit } from './openFiles.js';

// Who reads our output may stop reading, as `head` does: that is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

const limit = openFilesLimit();
const program = await loadProgram(process.argv.slice(2), limit).catch((error: unknown) => {
  process.stderr.write(`mcp-poolkit: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
if (program !== undefined) {
  const warning = limitWarning(limit);
  if (warning !== undefined) process.stderr.write(`mcp-poolkit: ${warning}\n`);
  await program.createProgram().parseAsync();
}
