/** What of `work` failed, once all of it is over. */
export async function failuresOf(work: Iterable<PromiseLike<unknown>>): Promise<unknown[]> {
  const results = await Promise.allSettled(work);
  return results.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []));
}

/** Waits for all of `work`, whatever fails among it. Throws what failed: one error as it is, several under `message`. */
export async function settleAll(work: Iterable<PromiseLike<unknown>>, message: string): Promise<void> {
  const errors = await failuresOf(work);
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors, message);
}
