import type { Middleware } from './Middleware.js';

const reasons = new WeakMap<Middleware, string>();

/** Marks a middleware that is right around a pool alone; a gateway refuses it, and says why. */
export function forPoolsAlone(middleware: Middleware, why: string): Middleware {
  reasons.set(middleware, why);
  return middleware;
}

/** Undefined for a middleware that may stand around a gateway. */
export const whyPoolsAlone = (middleware: Middleware): string | undefined => reasons.get(middleware);
