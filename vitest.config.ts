import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/support/setup.ts'],
    // Children are counted by parent pid and sockets by fd: each file gets a process of its own.
    pool: 'forks',
    // Much of a test's time is waiting for real processes and clocks: three more workers use it, also on two cores.
    maxWorkers: 4,
    testTimeout: 20_000,
    hookTimeout: 20_000,
  },
});
