import { setMaxListeners } from 'node:events';

/** A controller under whose signal many wait at a time: Node takes the eleventh listener of one for a leak, and warns. */
export function sharedAbort(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}
