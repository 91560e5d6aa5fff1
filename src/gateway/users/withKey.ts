import type { Caller } from '../../pool/McpPool.js';

/** The caller with what is a session's own; its context is whatever is the newest when it is asked for. */
export function withKey(base: Caller, key: string, own: Omit<Caller, 'context' | 'principal' | 'key'> = {}): Caller {
  return withContext(base, { ...own, key });
}

/** Those settings, on behalf of the same principal. */
export function withContext(base: Caller, own: Omit<Caller, 'context' | 'principal'>): Caller {
  return {
    ...own,
    ...(base.principal !== undefined && { principal: base.principal }),
    get context() {
      return base.context;
    },
  };
}
