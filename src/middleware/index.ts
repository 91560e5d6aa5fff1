export type { Caller } from '../connection/calls/Caller.js';
export { CallResult } from '../connection/calls/CallResult.js';
export type { CallChanges, Middleware, MiddlewareCall, Next } from '../connection/calls/Middleware.js';
