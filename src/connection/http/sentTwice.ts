/** Errors of calls that went out in two sessions and were refused in both: a pool that counts sends counts two. */
export const sentTwice = new WeakSet<object>();
