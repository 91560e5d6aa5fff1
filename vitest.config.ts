import { existsSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

// Each start of a program reads the file it names, which is half the time of a small one: all that the tests speak to is on this machine.
delete process.env['NODE_EXTRA_CA_CERTS'];

/** Those that take longest, of which two thirds is waiting, the longest first. */
const LONG = [
  'test/cli/bench.test.ts',
  'test/cli/workers.test.ts',
  'test/cli/serve.test.ts',
  'test/bench/fleet.test.ts',
  'test/bench/truth.test.ts',
  'test/concurrent/ClusterRateLimiter.outage.test.ts',
  'test/cli/undrained.test.ts',
  'test/cli/connect.test.ts',
  'test/gateway/modernClients.test.ts',
  'test/toolstore/FileCache.processes.test.ts',
  'test/gateway/fidelity/clients.test.ts',
  'test/concurrent/ClusterRateLimiter.fleet.test.ts',
  'test/examples/proxy-chaos.test.ts',
  'test/conformance.test.ts',
  'test/registry/lifecycle/LifecycleManager.cycles.test.ts',
  'test/bench/report.test.ts',
  'test/gateway/status/page.test.ts',
  'test/shutdown/signals.test.ts',
];

/**
 * The others share the process of a worker, and with it the modules that it has loaded: a fifth of their time. These load the package
 * beside the sources, or measure the memory of their process.
 */
const ALONE = ['test/bench/workloads.test.ts', 'test/core/text/ownText.test.ts', 'test/examples/observe.test.ts'];

/** These put another module in the place of one, which works with sources only. */
const MOCKING = ['test/bundledStatus.test.ts', 'test/connection/channel/batches.test.ts'];

const SOURCES = join(import.meta.dirname, 'src');
const MODULES = join(import.meta.dirname, '.build/lib');

/** How many others begin between two of them. */
const SPACING = 12;

/** They begin in the first half, a few at a time: what others compute fills their waits, and none is left for the end. */
class LongSpread extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => LONG.findIndex((each) => moduleId.endsWith(each));
    const sorted = await super.sort(files);
    // First, since a process that others share ends where one of these is next.
    const alone = sorted.filter(({ project }) => project.name !== 'together');
    const shared = sorted.filter(({ project }) => project.name === 'together');
    const long = shared.filter((file) => rank(file) >= 0).sort((a, b) => rank(a) - rank(b));
    const others = shared.filter((file) => rank(file) < 0);
    const spread = long.flatMap((file, i) => [file, ...others.slice(i * SPACING, (i + 1) * SPACING)]);
    return [...alone, ...spread, ...others.slice(long.length * SPACING)];
  }
}

/**
 * `npm test` has just built the sources, so its tests take each module as it was built: Node loads it once for a worker, where vitest would
 * translate it once more. Without the variable, as in a run of a few files or a watched one, the sources themselves are taken.
 */
const built: Plugin = {
  name: 'built modules',
  enforce: 'pre',
  resolveId(source, importer) {
    if (process.env['POOLKIT_BUILT'] !== '1' || importer === undefined || !source.startsWith('.')) return;
    const path = relative(SOURCES, resolve(dirname(importer), source));
    const file = join(MODULES, path);
    return path.startsWith('..') || !existsSync(file) ? undefined : { id: file, external: true };
  },
};

export default defineConfig({
  test: {
    setupFiles: ['test/support/setup.ts'],
    sequence: { sequencer: LongSpread },
    // Children are counted by parent pid and sockets by fd: no two files run in one process at a time.
    pool: 'forks',
    // Much of a test's time is waiting for real processes and clocks: three more workers use it, also on two cores.
    maxWorkers: 4,
    testTimeout: 20_000,
    // What is waited for comes within a second, but on a busy machine.
    expect: { poll: { timeout: 15_000 } },
    hookTimeout: 20_000,
    projects: [
      {
        extends: true,
        plugins: [built],
        test: {
          name: 'together',
          isolate: false,
          include: ['test/**/*.test.ts'],
          exclude: [...ALONE, ...MOCKING],
        },
      },
      { extends: true, plugins: [built], test: { name: 'alone', include: ALONE } },
      { extends: true, test: { name: 'mocking', include: MOCKING } },
    ],
  },
});
