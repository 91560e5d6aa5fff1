import type { IncomingHttpHeaders } from 'node:http';
import type { Caller } from '../../pool/McpPool.js';

/** What a client sends with every request, as far as it may say who it is. */
export interface AuthRequest {
  readonly method: string;
  /** Path and query, below a prefix as the host's router left it. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** Where it connected from. */
  readonly address: string | undefined;
}

/**
 * Who a client is: by `principal`, which keeps users apart; where one person has several, `subject` says who that is, so that they have
 * one share of what is bounded. `context` is for the credentials hook.
 */
export type User = Pick<Caller, 'context' | 'subject'> & {
  readonly principal: string;
  /** What the token of this very request allows, where the gateway has rules by scope. @defaultValue [] */
  readonly scopes?: readonly string[];
};

/**
 * Says who a request comes from, anew for each. `undefined`: 401. What it throws is a 500, and tells the client nothing. A `ForbiddenError`:
 * 403.
 */
export type Authenticate = (request: AuthRequest) => Promise<User | undefined>;
