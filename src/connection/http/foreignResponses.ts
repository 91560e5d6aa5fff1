/** An error with no id, alone in the body of a call's response, is that call's. */
export function answerFor(id: number, message: unknown): unknown {
  if (typeof message !== 'object' || message === null || Array.isArray(message)) return message;
  const { error, id: given, method } = message as Record<string, unknown>;
  return error !== undefined && (given === undefined || given === null) && method === undefined
    ? { id, error }
    : message;
}
