import type { Middleware } from '../../connection/calls/Middleware.js';
import { checkMs, checkRecord, withDefaults } from '../../core/options.js';

export interface TimeoutsOptions {
  /** Longest wait for an answer, in ms from its send, from 1; `Infinity`: without bound. @defaultValue the call's own */
  readonly defaultMs?: number;
  /** The same by method, before the default. @defaultValue {} */
  readonly byMethod?: Readonly<Record<string, number>>;
  /** The same by tool, before the method. @defaultValue {} */
  readonly byTool?: Readonly<Record<string, number>>;
}

export const TIMEOUTS_DEFAULTS = Object.freeze({ byMethod: Object.freeze({}), byTool: Object.freeze({}) });

/** Bounds what clients ask by tool and method: beyond it a call fails with `ERR_REQUEST_TIMEOUT` and is cancelled. @throws OptionError */
export function timeouts(given: TimeoutsOptions): Middleware {
  const { defaultMs, byMethod, byTool } = withDefaults('timeouts', given, TIMEOUTS_DEFAULTS, { defaultMs: true });
  if (defaultMs !== undefined) checkMs('defaultMs', defaultMs, { min: 1, infinity: true });
  const tools = new Map(Object.entries(checkRecord('byTool', byTool)));
  const methods = new Map(Object.entries(checkRecord('byMethod', byMethod)));
  for (const ms of tools.values()) checkMs('byTool', ms, { min: 1, infinity: true });
  for (const ms of methods.values()) checkMs('byMethod', ms, { min: 1, infinity: true });
  return (call, next) => {
    if (call.kind !== 'request' || call.from !== 'client') return next();
    const timeoutMs = tools.get(call.tool ?? '') ?? methods.get(call.method) ?? defaultMs;
    return timeoutMs === undefined ? next() : next({ timeoutMs });
  };
}
