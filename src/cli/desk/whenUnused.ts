import type { Gateway } from '../../gateway/Gateway.js';

const LOOK_MS = 250;

/** Calls back once when the gateway has had no connection for `afterMs`. A client that is there keeps one. */
export function whenUnused(gateway: Gateway, afterMs: number, callback: () => void): Disposable {
  let usedMs = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    if (gateway.stats.connections > 0) usedMs = now;
    if (now - usedMs < afterMs) return;
    clearInterval(timer);
    callback();
  }, LOOK_MS);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
