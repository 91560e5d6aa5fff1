/**
 * What a user's function threw or a signal was aborted with, or an error in its place when even a look at it throws, as with a
 * proxy. All that comes from outside goes through here once, so that nothing behind has to fear `instanceof`.
 */
export function thrown(error: unknown): unknown {
  try {
    if (error instanceof Error) void [error.message, error.name];
    return error;
  } catch {
    return new Error('something was thrown that cannot be looked at');
  }
}

/**
 * Whether what a user's function gave is a promise, also one of another realm or library; `failed` is told if that rejects. Throws what a
 * look at it throws.
 */
export function isPromise(given: unknown, failed: (error: unknown) => void): boolean {
  if (given === undefined || given === null || typeof (given as { then?: unknown }).then !== 'function') return false;
  Promise.resolve(given).catch(failed);
  return true;
}
