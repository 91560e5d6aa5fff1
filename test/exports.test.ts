import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, { default: string } | string>;
};

/** What each subpath exports at run time. A change here is a change of the API. */
const EXPORTS: Readonly<Record<string, readonly string[]>> = {
  '.': [
    'AcquireTimeoutError',
    'CLOSE_DEFAULTS',
    'CircuitOpenError',
    'ClosedError',
    'ConfigError',
    'ERROR_CODES',
    'FILE_CACHE_DEFAULTS',
    'FileCache',
    'ForbiddenError',
    'GATEWAY_DEFAULTS',
    'Gateway',
    'InFlight',
    'LifecycleManager',
    'MessageTooLargeError',
    'NoOpCache',
    'NotSentError',
    'OptionError',
    'OutcomeUnknownError',
    'POOL_DEFAULTS',
    'PoolkitError',
    'QueueFullError',
    'RESOURCE_POOL_DEFAULTS',
    'RateLimitedError',
    'RequestTimeoutError',
    'ResourcePool',
    'RpcError',
    'ServerNotFoundError',
    'ServerRegistry',
    'ServerStoppedError',
    'ShutdownPlan',
    'ShutdownReport',
    'ShutdownTimeoutError',
    'StartError',
    'StdioPool',
    'StillAliveError',
    'UnauthorizedError',
    'UpstreamBusyError',
    'WireError',
    'addHttpServer',
    'checkServerConfig',
    'closeHttpServer',
    'fingerprint',
    'parseConfig',
    'readConfigFile',
    'silentLogger',
    'systemClock',
  ],
  './pool': [
    'AcquireTimeoutError',
    'ClosedError',
    'CreateError',
    'MemoryEraStore',
    'OptionError',
    'POOL_DEFAULTS',
    'PoolkitError',
    'QueueFullError',
    'RESOURCE_POOL_DEFAULTS',
    'ResourcePool',
    'ShutdownTimeoutError',
    'StartError',
    'StdioPool',
  ],
  './concurrent': [
    'AcquireTimeoutError',
    'CLUSTER_RATE_LIMITER_DEFAULTS',
    'ClosedError',
    'ClusterRateLimiter',
    'OptionError',
    'PoolkitError',
    'QueueFullError',
    'RateLimitedError',
    'ShutdownTimeoutError',
  ],
  './registry': [
    'ClosedError',
    'ConfigError',
    'INHERITED_ENV',
    'LIFECYCLE_CONFIG_DEFAULTS',
    'LIFECYCLE_MANAGER_DEFAULTS',
    'LifecycleManager',
    'MANAGED_PROCESS_DEFAULTS',
    'ManagedProcess',
    'OptionError',
    'PoolkitError',
    'ProcessLedger',
    'ServerNotFoundError',
    'ServerRegistry',
    'ServerStoppedError',
    'StartError',
    'StillAliveError',
    'checkServerConfig',
    'escapeVariables',
    'expandVariables',
    'fingerprint',
    'parseConfig',
    'readConfigFile',
  ],
  './toolstore': [
    'ClosedError',
    'FILE_CACHE_DEFAULTS',
    'FileCache',
    'NoOpCache',
    'OptionError',
    'PoolkitError',
    'QueueFullError',
    'ShutdownTimeoutError',
  ],
  './shutdown': [
    'BackgroundWorker',
    'ClosedError',
    'ERROR_CODES',
    'HEALTH_DEFAULTS',
    'Health',
    'InFlight',
    'LISTEN_DEFAULTS',
    'OptionError',
    'PoolkitError',
    'SHUTDOWN_DEFAULTS',
    'SHUTDOWN_PHASES',
    'ShutdownPlan',
    'ShutdownReport',
    'ShutdownTimeoutError',
    'TrackedHttpServer',
    'addHttpServer',
    'closeHttpServer',
    'trackHttpServer',
    'withTimeout',
  ],
  './gateway': [
    'ClosedError',
    'ERROR_CODES',
    'GATEWAY_DEFAULTS',
    'Gateway',
    'OptionError',
    'OutcomeUnknownError',
    'PoolkitError',
    'ShutdownTimeoutError',
  ],
  './testing': ['FakeClock', 'closeAndCheck', 'leakBaseline'],
};

const sourceOf = (target: string): string => join(root, target.replace('./dist/', 'src/').replace(/\.js$/, '.ts'));

const subpaths = Object.entries(manifest.exports).flatMap(([subpath, target]) =>
  typeof target === 'string' || !existsSync(sourceOf(target.default))
    ? []
    : [[subpath, sourceOf(target.default)] as const],
);

for (const [subpath, source] of subpaths) {
  test(`${subpath} exports exactly what is written down`, async () => {
    const exported = Object.keys((await import(source)) as object).sort();
    expect(exported).toEqual([...(EXPORTS[subpath] ?? [])].sort());
  });
}

test('what is written down exists', () => {
  const known = subpaths.map(([subpath]) => subpath);
  expect(Object.keys(EXPORTS).filter((subpath) => !known.includes(subpath))).toEqual([]);
});
