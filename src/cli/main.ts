#!/usr/bin/env node
import { createProgram } from './program.js';

// Who reads our output may stop reading, as `head` does: that is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

await createProgram().parseAsync();
