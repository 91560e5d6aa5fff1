import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { get, type IncomingMessage, type ServerResponse } from 'node:http';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { HttpListener } from '../../src/testing/wire/http/HttpListener.js';
import { readBody } from '../../src/testing/wire/http/readBody.js';
import { closeAfter } from './closeAfter.js';

interface Token {
  readonly family: string;
  readonly client: string;
  readonly scope: string;
  readonly resource: string;
  readonly expiresAt: number;
}

interface Code {
  readonly client: string;
  readonly challenge: string;
  readonly redirect: string;
  readonly scope: string;
  readonly resource: string;
}

export interface AuthorizationServerOptions {
  readonly now?: () => number;
  /** Life of an access token, in ms. @defaultValue 60000 */
  readonly lifeMs?: number;
  /** Put over the metadata; undefined takes a field away. */
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** Put over the query that the browser is sent back with; undefined takes a parameter away. */
  readonly callback?: Readonly<Record<string, string | undefined>>;
  /** Put over the answer to a registration. */
  readonly registration?: Readonly<Record<string, unknown>>;
  /** Put over a token response. */
  readonly tokens?: Readonly<Record<string, unknown>>;
  /** Before everything else; true: it was handled. */
  readonly before?: (request: IncomingMessage, response: ServerResponse, body: URLSearchParams) => boolean;
}

/** An authorization server: metadata, sign-in without a question, PKCE, rotation with the end of a family whose old token comes again. */
export class AuthorizationServer {
  readonly #options: AuthorizationServerOptions;
  readonly #http = new HttpListener((request, response) => this.#serve(request, response));
  readonly #codes = new Map<string, Code>();
  readonly #access = new Map<string, Token>();
  readonly #refresh = new Map<string, Omit<Token, 'expiresAt'>>();
  readonly #used = new Map<string, string>();
  readonly #ended = new Set<string>();
  /** Clients with their secrets; an empty one is none. */
  readonly clients = new Map<string, string>();
  readonly redirects = new Map<string, string>();
  /** Spaces behind its metadata. */
  long = 0;
  /** Paths that were asked for, and the grant types at the token endpoint. */
  readonly asked: string[] = [];

  constructor(options: AuthorizationServerOptions) {
    this.#options = options;
  }

  static async listen(options: AuthorizationServerOptions = {}): Promise<AuthorizationServer> {
    const server = closeAfter(new AuthorizationServer(options));
    await server.#http.listen('listen', {});
    return server;
  }

  get issuer(): string {
    return this.#http.origin;
  }

  /** Whether a resource may take the token; with its scopes. */
  check(token: string, resource: string): { readonly scope: string } | undefined {
    const known = this.#access.get(token);
    if (known === undefined || this.#ended.has(known.family) || known.resource !== resource) return undefined;
    return known.expiresAt > this.#now() ? known : undefined;
  }

  /** No token that was given so far is taken any more; `refresh` tokens neither. */
  revokeAll({ refresh = false }: { readonly refresh?: boolean } = {}): void {
    this.#access.clear();
    if (refresh) this.#refresh.clear();
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = new URLSearchParams((await readBody(request)).toString());
    const { pathname, searchParams } = new URL(request.url ?? '', this.issuer);
    const grant = body.get('grant_type');
    this.asked.push(grant === null ? pathname : `${pathname} ${grant}`);
    if (this.#options.before?.(request, response, body) === true) return;
    if (pathname === '/.well-known/oauth-authorization-server')
      json(response, 200, { ...this.#metadata(), long: ' '.repeat(this.long) });
    else if (pathname === '/authorize') this.#authorize(searchParams, response);
    else if (pathname === '/token') this.#token(request, body, response);
    else if (pathname === '/register') this.#register(body, response);
    else if (pathname === '/revoke') {
      this.#refresh.delete(body.get('token') ?? '');
      json(response, 200, {});
    } else json(response, 404, {});
  }

  #metadata(): object {
    const at = this.issuer;
    return {
      issuer: at,
      authorization_endpoint: `${at}/authorize`,
      token_endpoint: `${at}/token`,
      registration_endpoint: `${at}/register`,
      revocation_endpoint: `${at}/revoke`,
      response_types_supported: ['code'],
      code_challenge_methods_supported: ['S256'],
      token_endpoint_auth_methods_supported: ['none', 'client_secret_basic'],
      authorization_response_iss_parameter_supported: true,
      ...this.#options.metadata,
    };
  }

  #register(body: URLSearchParams, response: ServerResponse): void {
    const asked = JSON.parse([...body.keys()][0] ?? '{}') as { readonly redirect_uris: string[] };
    const id = `client-${this.clients.size}`;
    this.clients.set(id, '');
    this.redirects.set(id, asked.redirect_uris[0] ?? '');
    json(response, 201, { client_id: id, ...asked, ...this.#options.registration });
  }

  /** The person says yes at once. */
  #authorize(query: URLSearchParams, response: ServerResponse): void {
    const of = (name: string): string => query.get(name) ?? '';
    const known = this.redirects.get(of('client_id'));
    if (known !== of('redirect_uri') || of('code_challenge_method') !== 'S256' || of('code_challenge') === '') {
      json(response, 400, { error: 'invalid_request' });
      return;
    }
    const code = randomUUID();
    this.#codes.set(code, {
      client: of('client_id'),
      challenge: of('code_challenge'),
      redirect: of('redirect_uri'),
      scope: of('scope'),
      resource: of('resource'),
    });
    const to = new URL(of('redirect_uri'));
    const back = { code, state: of('state'), iss: this.issuer, ...this.#options.callback };
    for (const [name, value] of Object.entries(back)) if (value !== undefined) to.searchParams.set(name, value);
    response.writeHead(302, { location: to.href }).end();
  }

  // biome-ignore lint/suspicious/noConfusingVoidType: each branch ends the request.
  #token(request: IncomingMessage, body: URLSearchParams, response: ServerResponse): void | undefined {
    const of = (name: string): string => body.get(name) ?? '';
    const fail = (error: string): void => json(response, 400, { error, error_description: `no: ${error}` });
    const [, basic = ''] = /^Basic (.+)$/.exec(request.headers.authorization ?? '') ?? [];
    const [basicId, basicSecret] = Buffer.from(basic, 'base64').toString().split(':');
    const client = basic === '' ? of('client_id') : (basicId ?? '');
    if (this.clients.get(client) !== (basicSecret ?? '')) return fail('invalid_client');
    switch (of('grant_type')) {
      case 'authorization_code': {
        const code = this.#codes.get(of('code'));
        this.#codes.delete(of('code'));
        const proof = createHash('sha256').update(of('code_verifier')).digest('base64url');
        if (code === undefined || code.client !== client || code.redirect !== of('redirect_uri'))
          return fail('invalid_grant');
        if (proof !== code.challenge || code.resource !== of('resource')) return fail('invalid_grant');
        return this.#give(response, { family: randomUUID(), client, scope: code.scope, resource: code.resource }, true);
      }
      case 'refresh_token': {
        const old = of('refresh_token');
        const used = this.#used.get(old);
        // An old one that comes again was stolen by someone: nothing of its family is good any more.
        if (used !== undefined) this.#ended.add(used);
        const known = this.#refresh.get(old);
        if (known === undefined || known.client !== client || this.#ended.has(known.family))
          return fail('invalid_grant');
        if (known.resource !== of('resource')) return fail('invalid_target');
        this.#refresh.delete(old);
        this.#used.set(old, known.family);
        return this.#give(response, known, true);
      }
      case 'client_credentials':
        if (this.clients.get(client) === '') return fail('unauthorized_client');
        return this.#give(
          response,
          { family: randomUUID(), client, scope: of('scope'), resource: of('resource') },
          false,
        );
      default:
        return fail('unsupported_grant_type');
    }
  }

  #give(response: ServerResponse, token: Omit<Token, 'expiresAt'>, refreshable: boolean): void {
    const { lifeMs = 60_000, tokens } = this.#options;
    const [access, refresh] = [`access-${randomUUID()}`, `refresh-${randomUUID()}`];
    this.#access.set(access, { ...token, expiresAt: this.#now() + lifeMs });
    if (refreshable) this.#refresh.set(refresh, token);
    json(response, 200, {
      access_token: access,
      token_type: 'Bearer',
      expires_in: lifeMs / 1_000,
      scope: token.scope,
      ...(refreshable && { refresh_token: refresh }),
      ...tokens,
    });
  }
}

/** An MCP server of the SDK that takes only tokens which that authorization server gave for it. */
export class ProtectedServer {
  readonly #authority: AuthorizationServer;
  readonly #metadata: (url: string) => object | string | undefined;
  readonly #http = new HttpListener((request, response) => this.#serve(request, response));
  readonly #handle = toNodeHandler(createMcpHandler(() => mcpServer()));
  /** `Authorization` of every request to `/mcp`, in order. */
  readonly shown: (string | undefined)[] = [];
  refused = 0;

  private constructor(authority: AuthorizationServer, metadata: (url: string) => object | string | undefined) {
    this.#authority = authority;
    this.#metadata = metadata;
  }

  /** `metadata`: of the protected resource, or a page in their place; undefined: there are none. */
  static async listen(
    authority: AuthorizationServer,
    metadata: (url: string) => object | string | undefined = (url) => ({
      resource: url,
      authorization_servers: [authority.issuer],
      scopes_supported: ['tools'],
    }),
  ): Promise<ProtectedServer> {
    const server = closeAfter(new ProtectedServer(authority, metadata));
    await server.#http.listen('listen', {});
    return server;
  }

  get url(): string {
    return `${this.#http.origin}/mcp`;
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url === '/.well-known/oauth-protected-resource/mcp') {
      const metadata = this.#metadata(this.url);
      if (typeof metadata === 'string') return void response.end(metadata);
      return json(response, metadata === undefined ? 404 : 200, metadata ?? {});
    }
    if (request.url !== '/mcp') return json(response, 404, {});
    const { authorization } = request.headers;
    this.shown.push(authorization);
    if (this.#authority.check(authorization?.replace('Bearer ', '') ?? '', this.url) === undefined) {
      this.refused++;
      const at = `${this.#http.origin}/.well-known/oauth-protected-resource/mcp`;
      response.writeHead(401, { 'www-authenticate': `Bearer error="invalid_token", resource_metadata="${at}"` }).end();
      return undefined;
    }
    await this.#handle(request as IncomingMessage & { method: string; url: string }, response);
  }
}

function mcpServer(): McpServer {
  const server = new McpServer({ name: 'protected', version: '1' });
  server.registerTool('who', {}, () => ({ content: [{ type: 'text', text: 'it is you' }] }));
  return server;
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** Opens a page as a browser does, on a socket of its own: gives where it is sent on to, or the page. */
export async function browse(url: string | URL): Promise<URL> {
  const response = await page(url);
  return new URL(response.headers.location ?? 'about:blank');
}

/** One GET. */
export async function page(url: string | URL): Promise<IncomingMessage & { readonly text: string }> {
  const asked = get(url, { agent: false });
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  return Object.assign(response, { text: (await readBody(response)).toString() });
}
