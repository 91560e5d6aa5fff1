import type { CallOptions } from './Endpoint.js';

/** A call whose result is looked at on its way, so that it has to come whole, however large. */
export function whole<O extends CallOptions>(call: O): O {
  return call.onLarge === undefined ? call : { ...call, onLarge: undefined };
}
