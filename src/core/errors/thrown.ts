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
