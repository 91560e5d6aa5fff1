import type { IncomingMessage } from 'node:http';

/** Who asks, for rules with a `caller`: what stands behind `Bearer`. */
export function callerOf({ headers }: IncomingMessage): string | undefined {
  return /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1];
}
