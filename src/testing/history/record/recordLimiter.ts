import { checkOptions, checkPart } from '../../../core/options.js';
import type { History } from '../History.js';

/** What can be followed: every limiter of the toolkit. */
export interface RecordableLimiter {
  tryAcquire(weight?: number): boolean;
  acquire(options?: { readonly weight?: number | undefined }): Promise<void>;
}

/**
 * `limiter` with every permit written into `history`, which is told of the limit once: `check` convicts when more than
 * `max` were granted in any window of `windowMs`. Between asking and getting lies the moment of the grant: both are kept,
 * and a permit that was waited for convicts only as far as that is sure.
 */
export function recordLimiter<L extends RecordableLimiter>(
  limiter: L,
  history: History,
  bound: { readonly limit: string; readonly max: number; readonly windowMs: number },
): L {
  checkPart('limiter', limiter, ['acquire'], 'a limiter');
  checkPart('history', history, ['add'], 'a History');
  const { limit } = checkOptions('bound', bound, 'an object with limit, max and windowMs');
  history.add({ type: 'limit', ...bound });
  const methods = {
    tryAcquire(weight = 1): boolean {
      const sinceMs = history.now();
      const granted = limiter.tryAcquire(weight);
      if (granted) history.add({ type: 'permit', limit, sinceMs, weight });
      return granted;
    },
    async acquire(options?: { readonly weight?: number | undefined }): Promise<void> {
      const sinceMs = history.now();
      await limiter.acquire(options);
      history.add({ type: 'permit', limit, sinceMs, weight: options?.weight ?? 1 });
    },
  };
  const recorded: L = new Proxy(limiter, {
    get(target, name) {
      // A limiter is its own source: asked for the one of a call it would hand out what is not recorded.
      if (name === 'for') return () => recorded;
      if (Object.hasOwn(methods, name)) return Reflect.get(methods, name);
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return recorded;
}
