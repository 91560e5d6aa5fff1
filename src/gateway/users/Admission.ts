import type { IncomingMessage, ServerResponse } from 'node:http';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { CloseScope } from '../../core/close/CloseScope.js';
import { ForbiddenError, OptionError, RequestTimeoutError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { checkText } from '../../core/options.js';
import { type WaitBounds, within } from '../../core/time/within.js';
import type { Caller } from '../../pool/McpPool.js';
import { sendFailure, sendJson } from '../http/respond.js';
import type { Authenticate, User } from './Authenticate.js';
import { OpenStreams } from './OpenStreams.js';
import { type ScopeRule, ScopeRules, scopeChallenge } from './scopes/ScopeRules.js';

/** What the protected-resource metadata says (RFC 9728), for clients that ask where to get a token. */
export interface ResourceMetadata {
  /** The URL that clients know this resource by, which their tokens must be for (RFC 8707). */
  readonly resource: string;
  /** Who issues such tokens. */
  readonly authorizationServers: readonly string[];
  /** Scopes there are. @defaultValue none are named */
  readonly scopes?: readonly string[];
  /** What people are shown. @defaultValue no name */
  readonly name?: string;
}

/** What tells users apart. */
type Identity = Pick<Caller, 'principal' | 'subject'>;

export interface AdmissionOptions {
  readonly resourceMetadata: ResourceMetadata | undefined;
  readonly scopes: Readonly<Record<string, ScopeRule>> | undefined;
  readonly logger: Logger;
  /** Of the gateway: streams are asked about again until it closes. */
  readonly scope: CloseScope;
  /** Aborts when the gateway refuses requests. */
  readonly signal: AbortSignal;
}

/** Longest that `authenticate` may take, in ms. */
export const AUTHENTICATE_MS = 30_000;

const WELL_KNOWN = '/.well-known/oauth-protected-resource';

/** Who comes in: every request says anew who it is from; where tokens come from is told to any client. */
export class Admission {
  readonly #authenticate: Authenticate;
  readonly #logger: Logger;
  readonly #bounds: WaitBounds;
  readonly #lateBounds: WaitBounds;
  readonly #metadata: { readonly url: string; readonly body: string } | undefined;
  /** What scopes open; undefined where they open nothing in particular. */
  readonly scopes: ScopeRules | undefined;
  /** The users of connections within this process, which say nothing of themselves. */
  readonly #local = new WeakMap<object, User>();
  readonly #streams: OpenStreams;

  /** @throws OptionError */
  constructor(
    authenticate: Authenticate,
    { resourceMetadata: metadata, scopes, logger, scope, signal }: AdmissionOptions,
  ) {
    this.#authenticate = authenticate;
    this.#logger = logger;
    const late = (): Error => new RequestTimeoutError('gateway', 'authenticate', AUTHENTICATE_MS);
    this.#lateBounds = { clock: scope.clock, timeoutMs: AUTHENTICATE_MS, late, ref: false };
    this.#bounds = { ...this.#lateBounds, signal, ref: true };
    this.#streams = new OpenStreams(scope, logger);
    this.#metadata = metadata === undefined ? undefined : written(metadata);
    this.scopes = scopes === undefined ? undefined : new ScopeRules(scopes, this.#metadata?.url);
  }

  /** All that comes over that connection is this user's. */
  trust(connection: object, user: User): void {
    this.#local.set(connection, user);
  }

  /** Answers a request for the metadata; false for any other. */
  takes(request: IncomingMessage, response: ServerResponse): boolean {
    const [path = ''] = (request.url ?? '').split('?', 1);
    if (this.#metadata === undefined || request.method !== 'GET') return false;
    const at = path.indexOf(WELL_KNOWN);
    if (at < 0 || !/^(\/|$)/.test(path.slice(at + WELL_KNOWN.length))) return false;
    sendJson(response, 200, this.#metadata.body, {
      'access-control-allow-origin': '*',
      'cache-control': 'max-age=3600',
    });
    return true;
  }

  /** Who a request comes from; undefined when it was answered. `late`: one that is taken though the gateway closes. */
  async userOf(request: IncomingMessage, response: ServerResponse, late = false): Promise<User | undefined> {
    if (times('authorization', request.rawHeaders) > 1) {
      sendFailure(response, 400, { code: RPC_CODES.invalidRequest, message: 'one Authorization header, not several' });
      return undefined;
    }
    try {
      const user = this.#checked(await this.#ask(request, late ? this.#lateBounds : this.#bounds));
      if (user === undefined)
        this.#challenge(response, request.headers.authorization === undefined ? undefined : 'invalid_token');
      return user;
    } catch (error) {
      if (!(error instanceof ForbiddenError)) throw error;
      this.#logger.debug({ error: error.message }, 'a request is refused: 403');
      this.#forbid(response, error);
      return undefined;
    }
  }

  /** A response that stays open is that user's for as long as `authenticate` gives the same for its request. */
  follow(response: ServerResponse, user: Identity): void {
    this.#streams.follow(response, () => this.#isStill(response.req, user));
  }

  /** Rejects where `authenticate` fails. */
  async #isStill(request: IncomingMessage, { principal, subject }: Identity): Promise<boolean> {
    try {
      const user = this.#checked(await this.#ask(request, this.#bounds));
      return user !== undefined && user.principal === principal && user.subject === subject;
    } catch (error) {
      if (error instanceof ForbiddenError) return false;
      throw error;
    }
  }

  #ask(request: IncomingMessage, bounds: WaitBounds): User | Promise<User | undefined> {
    const { method = 'GET', url = '', headers } = request;
    const address = request.socket?.remoteAddress;
    const ask = async (): Promise<User | undefined> => this.#authenticate({ method, url, headers, address });
    return this.#local.get(request.socket) ?? within(ask(), bounds);
  }

  /** @throws OptionError */
  #checked(user: User | undefined): User | undefined {
    if (user === undefined) return undefined;
    if (typeof user.principal !== 'string' || user.principal === '') {
      throw new OptionError('authenticate', user.principal, 'a user with a principal, or undefined');
    }
    if (user.subject !== undefined) checkText('authenticate', user.subject);
    return this.scopes === undefined ? user : apart(user);
  }

  #forbid(response: ServerResponse, { message: why, scope }: ForbiddenError): void {
    const message = scope === undefined ? 'this token is not enough for that' : why;
    const challenge = scopeChallenge(scope, this.#metadata?.url);
    sendFailure(response, 403, { code: RPC_CODES.invalidRequest, message }, { 'www-authenticate': challenge });
  }

  #challenge(response: ServerResponse, error: string | undefined): void {
    const parts = [
      ...(error === undefined ? [] : [`error="${error}"`]),
      ...(this.#metadata === undefined ? [] : [`resource_metadata="${this.#metadata.url}"`]),
    ];
    const challenge = parts.length === 0 ? 'Bearer' : `Bearer ${parts.join(', ')}`;
    const message = 'who is asking: a valid token is needed';
    sendFailure(response, 401, { code: RPC_CODES.invalidRequest, message }, { 'www-authenticate': challenge });
  }
}

function written({ resource, authorizationServers, scopes, name }: ResourceMetadata): { url: string; body: string } {
  const parsed = URL.canParse(resource) ? new URL(resource) : undefined;
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol) || parsed.hash !== '') {
    throw new OptionError('resourceMetadata.resource', resource, 'an absolute http or https URL without fragment');
  }
  // The well-known part stands between host and path (RFC 9728, 3.1).
  const path = parsed.pathname === '/' ? '' : parsed.pathname;
  return {
    url: `${parsed.origin}${WELL_KNOWN}${path}`,
    body: JSON.stringify({
      resource,
      authorization_servers: authorizationServers,
      bearer_methods_supported: ['header'],
      ...(scopes && { scopes_supported: scopes }),
      ...(name !== undefined && { resource_name: name }),
    }),
  };
}

/** A token with fewer scopes never meets what one with more has opened: they are two principals. */
function apart(user: User): User {
  const scopes = [...new Set(user.scopes ?? [])].sort();
  return {
    ...user,
    subject: user.subject ?? user.principal,
    scopes,
    principal: JSON.stringify([user.principal, ...scopes]),
  };
}

function times(name: string, rawHeaders: readonly string[]): number {
  let count = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i]?.toLowerCase() === name) count++;
  return count;
}
