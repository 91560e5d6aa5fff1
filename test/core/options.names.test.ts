import { createServer } from 'node:http';
import { expect, test } from 'vitest';
import { AdaptiveLimit } from '../../src/concurrent/balance/AdaptiveLimit.js';
import { Balancer } from '../../src/concurrent/balance/Balancer.js';
import { Bulkhead } from '../../src/concurrent/balance/Bulkhead.js';
import { hedge } from '../../src/concurrent/balance/hedge.js';
import { LatencyWindow } from '../../src/concurrent/balance/LatencyWindow.js';
import { OutlierDetector } from '../../src/concurrent/balance/OutlierDetector.js';
import { RetryBudget } from '../../src/concurrent/balance/RetryBudget.js';
import { CircuitBreaker } from '../../src/concurrent/breaker/CircuitBreaker.js';
import { ClusterRateLimiter } from '../../src/concurrent/cluster/ClusterRateLimiter.js';
import { MultiServerRateLimiter } from '../../src/concurrent/limiter/MultiServerRateLimiter.js';
import { RateLimiter } from '../../src/concurrent/limiter/RateLimiter.js';
import { Semaphore } from '../../src/concurrent/Semaphore.js';
import { OptionError } from '../../src/core/errors.js';
import { addGateway } from '../../src/gateway/addGateway.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { ToolCatalog } from '../../src/gateway/ToolCatalog.js';
import { ServerRegistry } from '../../src/registry/config/ServerRegistry.js';
import { LifecycleManager } from '../../src/registry/lifecycle/LifecycleManager.js';
import { ManagedProcess } from '../../src/registry/process/ManagedProcess.js';
import { ProcessLedger } from '../../src/registry/process/ProcessLedger.js';
import { BackgroundWorker } from '../../src/shutdown/BackgroundWorker.js';
import { addHttpServer, closeHttpServer } from '../../src/shutdown/closeHttpServer.js';
import { Health } from '../../src/shutdown/Health.js';
import { InFlight } from '../../src/shutdown/InFlight.js';
import { ShutdownPlan } from '../../src/shutdown/ShutdownPlan.js';
import { withTimeout } from '../../src/shutdown/withTimeout.js';
import { leakBaseline } from '../../src/testing/closeAndCheck.js';
import { FaultPlan } from '../../src/testing/faults/FaultPlan.js';
import { faulty } from '../../src/testing/faulty.js';
import { FileCache } from '../../src/toolstore/FileCache.js';

/** Called as JavaScript may: with options that the types would refuse. */
// biome-ignore lint/suspicious/noExplicitAny: what is tested is exactly what the types forbid
type Given = any;

const work = (): Promise<void> => Promise.resolve();
const node = { command: process.execPath };

/** A misspelt option of each part, the option that was meant, and the part made with it. */
const PARTS: readonly (readonly [string, string, string, (options: Given) => unknown])[] = [
  ['AdaptiveLimit', 'minLimt', 'minLimit', (o) => new AdaptiveLimit(o)],
  ['Balancer', 'polcy', 'policy', (o) => new Balancer(o)],
  ['Bulkhead', 'maxConcurent', 'maxConcurrent', (o) => new Bulkhead(o)],
  ['hedge', 'clok', 'clock', (o) => hedge(work, o)],
  ['LatencyWindow', 'windowMS', 'windowMs', (o) => new LatencyWindow(o)],
  ['OutlierDetector', 'onEjcet', 'onEject', (o) => new OutlierDetector(o)],
  ['RetryBudget', 'clok', 'clock', (o) => new RetryBudget(o)],
  ['CircuitBreaker', 'clok', 'clock', (o) => new CircuitBreaker(o)],
  ['ClusterRateLimiter', 'windwMs', 'windowMs', (o) => new ClusterRateLimiter(o)],
  ['MultiServerRateLimiter', 'windwMs', 'windowMs', (o) => new MultiServerRateLimiter(o)],
  ['RateLimiter', 'windwMs', 'windowMs', (o) => new RateLimiter(o)],
  ['Semaphore', 'permitz', 'permits', (o) => new Semaphore(o)],
  ['Gateway', 'maxSesions', 'maxSessions', (o) => new Gateway(o)],
  ['ToolCatalog', 'maxPagse', 'maxPages', (o) => new ToolCatalog(o)],
  ['addGateway', 'timoutMs', 'timeoutMs', (o) => addGateway(new ShutdownPlan(), {} as Given, o)],
  ['ServerRegistry', 'loger', 'logger', (o) => new ServerRegistry(o)],
  ['LifecycleManager', 'maxServer', 'maxServers', (o) => new LifecycleManager(o)],
  ['ledger', 'directry', 'directory', (o) => new LifecycleManager({ ledger: o })],
  ['ManagedProcess', 'termGraceMS', 'termGraceMs', (o) => ManagedProcess.spawn('a', node, o)],
  ['ProcessLedger', 'directry', 'directory', (o) => ProcessLedger.open(o)],
  ['BackgroundWorker', 'intervallMs', 'intervalMs', (o) => new BackgroundWorker(o)],
  ['addHttpServer', 'timoutMs', 'timeoutMs', (o) => addHttpServer(new ShutdownPlan(), createServer(), o)],
  ['closeHttpServer', 'graceMS', 'graceMs', (o) => closeHttpServer(createServer(), o)],
  ['Health', 'check', 'checks', (o) => new Health(o)],
  ['checks.disk', 'cachMs', 'cacheMs', (o) => new Health().add('disk', { check: work, ...o })],
  ['InFlight', 'nam', 'name', (o) => new InFlight(o)],
  ['ShutdownPlan', 'totalMS', 'totalMs', (o) => new ShutdownPlan(o)],
  ["step 'a'", 'phas', 'phase', (o) => new ShutdownPlan().add('a', work, o)],
  ['force', 'exitcode', 'exitCode', (o) => new ShutdownPlan().force('test', o)],
  ['listen', 'signal', 'signals', (o) => new ShutdownPlan().listen(o)],
  ['withTimeout', 'timoutMs', 'timeoutMs', (o) => withTimeout('a', work, o)],
  ['leakBaseline', 'setleMs', 'settleMs', (o) => leakBaseline(o)],
  ['FaultPlan', 'ratio', 'ratios', (o) => new FaultPlan(o)],
  ['faulty', 'timoutMs', 'timeoutMs', (o) => faulty({ server: 's' } as Given, new FaultPlan({ ratios: {} }), o)],
  ['FileCache', 'directry', 'directory', (o) => new FileCache(o)],
];

for (const [part, typo, meant, make] of PARTS) {
  test(`${part}: an option named ${typo} is refused and ${meant} suggested`, async () => {
    const made = (async () => make({ [typo]: 1 }))();
    const error = await made.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(OptionError);
    expect((error as Error).message).toContain(`${part}.${typo}`);
    expect((error as Error).message).toContain(`'${meant}'`);
  });
}

test('an option of a program that is started is checked too', async () => {
  await using manager = new LifecycleManager({ ledger: false });
  const config: Given = { name: 'a', ...node, restrat: 'always' };
  await expect(manager.start(config)).rejects.toThrow(/restrat.*'restart'/);
});
