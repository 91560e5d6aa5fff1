import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test, vi } from 'vitest';
import { TYPES } from './support/exportedTypes.js';

// All of the package is read and compiled here, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

const root = resolve(import.meta.dirname, '..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, { types: string; default: string } | string>;
};

/** The errors: exported by `/errors`, and by the package's entry. */
const ERRORS: readonly string[] = [
  'AcquireTimeoutError',
  'BackingOffError',
  'CircuitOpenError',
  'ClosedError',
  'ERROR_CODES',
  'ForbiddenError',
  'MessageTooLargeError',
  'NotSentError',
  'OptionError',
  'OutcomeUnknownError',
  'PoolkitError',
  'QueueFullError',
  'RateLimitedError',
  'RequestTimeoutError',
  'RpcError',
  'ServerNotFoundError',
  'ServerStoppedError',
  'ShutdownTimeoutError',
  'SignInError',
  'StartError',
  'StillAliveError',
  'UnauthorizedError',
  'UpstreamBusyError',
  'ProtocolError',
  'CreateError',
];

/** What each other subpath exports at run time. A change here is a change of the API. */
const OWN: Readonly<Record<string, readonly string[]>> = {
  './pool': [
    'HTTPClientPool',
    'HTTP_DEFAULTS',
    'KEYED_POOL_DEFAULTS',
    'KeyedPool',
    'LIST_DEFAULTS',
    'MemoryEraStore',
    'POOL_DEFAULTS',
    'RESOURCE_POOL_DEFAULTS',
    'ResourcePool',
    'SSEPool',
    'StdioPool',
    'UnifiedPool',
  ],
  './bench': [
    'BENCH_DEFAULTS',
    'ProcessSampler',
    'RESULT_SCHEMA',
    'Recorder',
    'ReferenceServer',
    'SWEEP_OPTIONS',
    'WrongAnswerError',
    'compareReports',
    'htmlReport',
    'judge',
    'junitReport',
    'markdownReport',
    'parseCriteria',
    'parseTarget',
    'readScenario',
    'runBench',
    'scenarioJsonSchema',
    'textReport',
  ],
  './concurrent': [
    'ADAPTIVE_LIMIT_DEFAULTS',
    'AdaptiveLimit',
    'BALANCER_DEFAULTS',
    'BULKHEAD_DEFAULTS',
    'Balancer',
    'BalancerPick',
    'Bulkhead',
    'CIRCUIT_BREAKER_DEFAULTS',
    'CLUSTER_RATE_LIMITER_DEFAULTS',
    'CircuitBreaker',
    'ClusterRateLimiter',
    'HEDGE_DEFAULTS',
    'KEYED_POOL_DEFAULTS',
    'KeyedPool',
    'LATENCY_WINDOW_DEFAULTS',
    'LatencyWindow',
    'LimiterTableFullError',
    'MULTI_SERVER_RATE_LIMITER_DEFAULTS',
    'MultiServerRateLimiter',
    'OUTLIER_DETECTOR_DEFAULTS',
    'OutlierDetector',
    'Permit',
    'RATE_LIMITER_DEFAULTS',
    'RESOURCE_POOL_DEFAULTS',
    'RETRY_BUDGET_DEFAULTS',
    'RateLimiter',
    'ResourcePool',
    'RetryBudget',
    'SEMAPHORE_DEFAULTS',
    'Semaphore',
    'hedge',
  ],
  './middleware': [
    'APPROVE_DEFAULTS',
    'AUDIT_DEFAULTS',
    'CACHE_DEFAULTS',
    'COALESCE_DEFAULTS',
    'CallResult',
    'LIMIT_DEFAULTS',
    'PIN_DEFAULTS',
    'Pins',
    'REDACT_DEFAULTS',
    'RETRY_DEFAULTS',
    'TIMEOUTS_DEFAULTS',
    'approve',
    'audit',
    'cache',
    'coalesce',
    'limit',
    'redact',
    'retry',
    'timeouts',
  ],
  './observe': [
    'EVENT_LOG_DEFAULTS',
    'EventLog',
    'INSTRUMENT_DEFAULTS',
    'Instrument',
    'LOG_EVENTS',
    'METRICS',
    'OPEN_TELEMETRY_DEFAULTS',
    'OpenTelemetry',
    'prometheusRegistry',
    'registerMetrics',
  ],
  './registry': [
    'CONFIG_WATCHER_DEFAULTS',
    'ConfigError',
    'ConfigWatcher',
    'INHERITED_ENV',
    'LIFECYCLE_CONFIG_DEFAULTS',
    'LIFECYCLE_MANAGER_DEFAULTS',
    'LifecycleManager',
    'MANAGED_PROCESS_DEFAULTS',
    'ManagedProcess',
    'ProcessLedger',
    'ServerRegistry',
    'checkServerConfig',
    'closeInheritedDescriptors',
    'escapeVariables',
    'expandVariables',
    'fingerprint',
    'parseConfig',
    'readConfigFile',
  ],
  './toolstore': ['FILE_CACHE_DEFAULTS', 'FileCache', 'NoOpCache'],
  './auth': [
    'FileTokenStore',
    'SIGN_IN_ON_LOOPBACK_DEFAULTS',
    'SignIn',
    'UPSTREAM_OAUTH_DEFAULTS',
    'UpstreamOAuth',
    'signInOnLoopback',
  ],
  './shutdown': [
    'BackgroundWorker',
    'CLOSE_DEFAULTS',
    'CloseScope',
    'Emitter',
    'HEALTH_DEFAULTS',
    'Health',
    'InFlight',
    'LISTEN_DEFAULTS',
    'SHUTDOWN_DEFAULTS',
    'SHUTDOWN_PHASES',
    'ShutdownPlan',
    'ShutdownReport',
    'TrackedHttpServer',
    'addHttpServer',
    'closeHttpServer',
    'silentLogger',
    'systemClock',
    'trackHttpServer',
    'withTimeout',
  ],
  './gateway': [
    'GATEWAY_DEFAULTS',
    'Gateway',
    'JWT_DEFAULTS',
    'MEMORY_EVENT_STORE_DEFAULTS',
    'MemoryEventStore',
    'REDIS_EVENT_STORE_DEFAULTS',
    'REDIS_REPLICAS_DEFAULTS',
    'RedisEventStore',
    'RedisReplicas',
    'STATUS_DEFAULTS',
    'STDIO_FRONT_DEFAULTS',
    'ToolCatalog',
    'addGateway',
    'bearerTokens',
    'jwtUsers',
  ],
  './testing': [
    'FAULTS',
    'FakeClock',
    'FakeServer',
    'FaultPlan',
    'FaultProxy',
    'FaultyDisk',
    'History',
    'META_CALL',
    'RULES',
    'TcpFaultProxy',
    'check',
    'closeAndCheck',
    'epochNow',
    'fakeServer',
    'fakeServerCommand',
    'faultPlanSchema',
    'faulty',
    'leakBaseline',
    'record',
    'recordLimiter',
    'recordMessages',
    'replay',
  ],
};

/** What most proxies are made of: the package's entry. The rest is had by subpath. */
const ENTRY: readonly string[] = [
  'AdaptiveLimit',
  'BackgroundWorker',
  'Balancer',
  'Bulkhead',
  'CircuitBreaker',
  'CloseScope',
  'ClusterRateLimiter',
  'ConfigError',
  'FileCache',
  'Gateway',
  'HTTPClientPool',
  'Health',
  'InFlight',
  'KeyedPool',
  'LifecycleManager',
  'ManagedProcess',
  'MultiServerRateLimiter',
  'NoOpCache',
  'OutlierDetector',
  'RateLimiter',
  'ResourcePool',
  'RetryBudget',
  'SSEPool',
  'Semaphore',
  'ServerRegistry',
  'ShutdownPlan',
  'StdioPool',
  'ToolCatalog',
  'UnifiedPool',
  'addGateway',
  'addHttpServer',
  'closeHttpServer',
  'hedge',
  'parseConfig',
  'readConfigFile',
  'silentLogger',
  'systemClock',
  'withTimeout',
];

const EXPORTS: Readonly<Record<string, readonly string[]>> = {
  '.': [...ERRORS, ...ENTRY],
  './errors': ERRORS,
  ...OWN,
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

/** The names a declaration file exports as types. */
function typesOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(/^export (type )?\{([^}]*)\}/gm)]
    .flatMap(([, all, names = '']) =>
      names
        .split(',')
        .map((name) => name.trim())
        .filter((name) => name !== '' && (all !== undefined || name.startsWith('type ')))
        .map((name) => name.replace(/^type /, '').replace(/^.* as /, '')),
    )
    .sort();
}

for (const [subpath, target] of Object.entries(manifest.exports)) {
  if (typeof target === 'string') continue;
  test.skipIf(!existsSync(join(root, target.types)))(
    `${subpath} exports exactly the types that are written down`,
    () => {
      expect(typesOf(join(root, target.types))).toEqual([...(TYPES[subpath] ?? [])].sort());
    },
  );
}
