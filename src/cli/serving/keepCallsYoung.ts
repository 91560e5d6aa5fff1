import { setFlagsFromString } from 'node:v8';

/**
 * Has V8 make all objects in the young generation. By itself it makes those in the old one that mostly survived its collections: with
 * many calls in flight that is what a call is made of, which then holds all that hangs on it until a full collection. Calls to a
 * server over HTTP cost a fifth more by that: docs/decisions/250-what-a-call-costs.md.
 */
export function keepCallsYoung(): void {
  setFlagsFromString('--no-allocation-site-pretenuring');
}
