import type { Caller } from '../../pool/McpPool.js';

/** What is the principal's, whatever it asks. */
type Whose = 'context' | 'principal' | 'subject';

/** The caller with what is a session's own; its context is whatever is the newest when it is asked for. */
export function withKey(base: Caller, key: string, own: Omit<Caller, Whose | 'key'> = {}): Caller {
  return withContext(base, { ...own, key });
}

/** Those settings, on behalf of the same principal. */
export function withContext(base: Caller, own: Omit<Caller, Whose>): Caller {
  return {
    ...own,
    ...(base.principal !== undefined && { principal: base.principal }),
    ...(base.subject !== undefined && { subject: base.subject }),
    get context() {
      return base.context;
    },
  };
}
