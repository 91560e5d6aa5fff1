import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Those that take longest, of which two thirds is waiting: begun first, they leave no core idle at the end. */
const LONG = [
  'test/cli/bench.test.ts',
  'test/cli/workers.test.ts',
  'test/cli/serve.test.ts',
  'test/bench/fleet.test.ts',
  'test/bench/truth.test.ts',
  'test/concurrent/ClusterRateLimiter.outage.test.ts',
  'test/bench/workloads.test.ts',
  'test/cli/undrained.test.ts',
  'test/cli/connect.test.ts',
  'test/gateway/modernClients.test.ts',
  'test/toolstore/FileCache.processes.test.ts',
  'test/gateway/fidelity/clients.test.ts',
];

/** It puts another module in the place of one that other files have loaded. */
const ALONE = ['test/bundledStatus.test.ts'];

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification): boolean => LONG.some((each) => moduleId.endsWith(each));
    const sorted = await super.sort(files);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

export default defineConfig({
  test: {
    setupFiles: ['test/support/setup.ts'],
    sequence: { sequencer: LongFirst },
    // Children are counted by parent pid and sockets by fd: no two files run in one process at a time.
    pool: 'forks',
    // Much of a test's time is waiting for real processes and clocks: three more workers use it, also on two cores.
    maxWorkers: 4,
    testTimeout: 20_000,
    // What is waited for comes within a second, but on a busy machine.
    expect: { poll: { timeout: 15_000 } },
    hookTimeout: 20_000,
    projects: [
      // Files share the process of a worker, and with it the modules that it has loaded: a third of their time.
      { extends: true, test: { name: 'together', isolate: false, include: ['test/**/*.test.ts'], exclude: ALONE } },
      { extends: true, test: { name: 'alone', include: ALONE } },
    ],
  },
});
