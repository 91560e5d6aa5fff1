import { z } from 'zod';

/** How a client says who it is (`token_endpoint_auth_method`), what needs least first. */
export const CLIENT_METHODS = ['none', 'client_secret_basic', 'client_secret_post'] as const;

/** What a sign-in has given, as a store keeps it: plain JSON. All of it is secret. */
export interface StoredGrant {
  /** URL of the server that it is for. A grant is used for no other. */
  readonly server: string;
  /** Whose it is; none for callers of no principal. A grant is used for no other. */
  readonly principal?: string;
  /** The authorization server that gave it, and the only one that its refresh token is shown to. */
  readonly issuer: string;
  /** What the token is for (RFC 8707). */
  readonly resource: string;
  readonly client: {
    readonly id: string;
    /** Of a client that was registered at the sign-in; one from the config is not stored. */
    readonly secret?: string;
    /** Of a client that was registered: where the browser may come back to. */
    readonly redirectUrl?: string;
    /** Of a client with a secret: how it is shown, where the registration says so. */
    readonly method?: (typeof CLIENT_METHODS)[number];
  };
  readonly accessToken: string;
  readonly refreshToken?: string;
  /** As granted, one space between two. */
  readonly scope?: string;
  /** Epoch ms. */
  readonly expiresAt?: number;
}

/** Where grants are kept: in files (`FileTokenStore`), or where you like. What it throws is that sign-in's or call's failure. */
export interface TokenStore {
  /** The grant under that key; undefined when there is none. */
  get(key: string): Promise<StoredGrant | undefined>;
  /** Resolves when it would survive this process. */
  set(key: string, grant: StoredGrant): Promise<void>;
  /** No error when there is none. */
  delete(key: string): Promise<void>;
  /**
   * Runs `work` while no other process does so for that key: a refresh token that rotates must not be used twice. `signal` ends the wait
   * for the turn; work that has begun goes on to its end. While it runs, it is called for that key with `.change` behind it. Without it,
   * processes that share a store may sign one another out. @defaultValue none
   */
  exclusive?<T>(key: string, work: () => Promise<T>, signal: AbortSignal): Promise<T>;
}

const text = z.string().min(1);
const grantSchema = z.object({
  server: text,
  principal: text.optional(),
  issuer: text,
  resource: text,
  client: z.object({
    id: text,
    secret: text.optional(),
    redirectUrl: text.optional(),
    method: z.enum(CLIENT_METHODS).optional(),
  }),
  accessToken: text,
  refreshToken: text.optional(),
  scope: z.string().optional(),
  expiresAt: z.number().optional(),
});

/** What a store gave, checked. @throws Error that shows none of it */
export function checkGrant(given: unknown): StoredGrant {
  const checked = grantSchema.safeParse(given);
  if (checked.success) return checked.data as StoredGrant;
  const fields = checked.error.issues.map(({ path }) => path.join('.') || 'the whole').join(', ');
  throw new Error(`what is stored is no grant: ${fields}`);
}
