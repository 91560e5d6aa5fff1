/** Errors of calls that a session refused and that are not for another one: a pool does not send them again either. */
export const refusedBySession = new WeakSet<object>();
