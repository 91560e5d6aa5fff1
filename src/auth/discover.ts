import {
  type AuthorizationServerMetadata,
  buildDiscoveryUrls,
  checkResourceAllowed,
  extractWWWAuthenticateParams,
  type FetchLike,
  resourceUrlFromServerUrl,
} from '@modelcontextprotocol/client';
import { z } from 'zod';
import { messageOf, SignInError, show } from '../core/errors.js';
import { documentAt } from './net/documents.js';
import type { OAuthServer } from './OAuthServer.js';

/** Who gives tokens for a server, and what they are for. */
export interface Authority {
  readonly issuer: string;
  readonly metadata: AuthorizationServerMetadata;
  /** What the token is for (RFC 8707). */
  readonly resource: string;
  /** What the server asks for in its challenge, else all that it names; undefined when it says nothing. */
  readonly scopes: readonly string[] | undefined;
}

const texts = z.array(z.string());
const flag = z.boolean().catch(false);

/** What a sign-in uses of it (RFC 9728): the rest may be as it likes. */
const resourceSchema = z.object({
  resource: z.url(),
  authorization_servers: z.array(z.url()).optional(),
  scopes_supported: texts.optional(),
});

/** What a sign-in uses of it (RFC 8414, OpenID Connect Discovery). */
const authoritySchema = z.object({
  issuer: z.string(),
  authorization_endpoint: z.url(),
  token_endpoint: z.url(),
  registration_endpoint: z.url().optional(),
  revocation_endpoint: z.unknown().optional(),
  // One that takes none says so when it is asked.
  response_types_supported: texts.default(['code']),
  code_challenge_methods_supported: texts.optional(),
  scopes_supported: texts.optional(),
  token_endpoint_auth_methods_supported: texts.optional(),
  client_id_metadata_document_supported: flag,
  authorization_response_iss_parameter_supported: flag,
});

/**
 * Asks the server who its authorization server is (RFC 9728), and that one for its metadata (RFC 8414). `challenge`: what the server said
 * with a 401. @throws SignInError
 */
export async function discover(server: OAuthServer, fetch: FetchLike, challenge?: string): Promise<Authority> {
  const { name, url, auth } = server;
  const said = challenge === undefined ? {} : extractWWWAuthenticateParams(answerWith(challenge));
  const resource = await resourceOf(server, fetch, said.resourceMetadataUrl);
  const named = resource?.authorization_servers ?? [];
  if (auth.issuer !== undefined && named.length > 0 && !named.some((each) => sameIssuer(each, auth.issuer))) {
    const list = named.map(show).join(', ');
    throw new SignInError(
      name,
      `it names the authorization servers ${list}; auth.issuer trusts ${show(auth.issuer)} alone`,
    );
  }
  // Before RFC 9728 a server was its own authorization server.
  const issuer = auth.issuer ?? named[0] ?? new URL('/', url).href;
  return {
    ...(await authorityOf(name, issuer, fetch)),
    resource: resource?.resource ?? resourceUrlFromServerUrl(url).href,
    scopes: said.scope?.split(' ').filter((each) => each !== '') ?? resource?.scopes_supported,
  };
}

/** What an authorization server says of itself. @throws SignInError */
export async function authorityOf(
  name: string,
  issuer: string,
  fetch: FetchLike,
): Promise<Pick<Authority, 'issuer' | 'metadata'>> {
  let metadata: AuthorizationServerMetadata | undefined;
  try {
    const said = await documentAt(
      buildDiscoveryUrls(issuer).map(({ url }) => url),
      fetch,
    );
    if (said !== undefined) metadata = checked(authoritySchema, said) as AuthorizationServerMetadata;
    // RFC 8414, 3.3, but for a slash at the end: with it or without, the metadata are at the same place.
    if (metadata !== undefined && !sameIssuer(metadata.issuer, issuer)) {
      throw new Error(`they are of ${show(metadata.issuer)}`);
    }
  } catch (error) {
    throw new SignInError(name, `the metadata of ${show(issuer)} are of no use: ${messageOf(error)}`, error);
  }
  if (metadata === undefined) {
    throw new SignInError(name, `${show(issuer)} publishes no metadata of an authorization server (RFC 8414)`);
  }
  return { issuer: metadata.issuer, metadata };
}

/** A person's sign-in should last: a refresh token is asked for where that takes a scope. */
export function withOffline({ scopes = [], metadata }: Authority): readonly string[] {
  const offline = 'offline_access';
  const known = metadata.scopes_supported?.includes(offline) === true && !scopes.includes(offline);
  return known && scopes.length > 0 ? [...scopes, offline] : scopes;
}

/** Undefined where the server has none, as before RFC 9728. `at`: where it says that they are. */
async function resourceOf(
  { name, url }: OAuthServer,
  fetch: FetchLike,
  at: URL | undefined,
): Promise<z.infer<typeof resourceSchema> | undefined> {
  let metadata: z.infer<typeof resourceSchema>;
  try {
    const said = await documentAt(at === undefined ? resourcePlaces(url) : [at], fetch);
    if (said === undefined && at === undefined) return undefined;
    if (said === undefined) throw new Error(`there is nothing at ${show(at?.href)}`);
    metadata = checked(resourceSchema, said);
  } catch (error) {
    throw new SignInError(name, `what it says of its authorization server is of no use: ${messageOf(error)}`, error);
  }
  const requested = resourceUrlFromServerUrl(url);
  // A slash at the end makes no other resource of it.
  const requestedResource = new URL(requested);
  requestedResource.pathname = `${requested.pathname.replace(/\/$/, '')}/`;
  // Else a token for another server would be asked for, and handed to this one.
  if (!checkResourceAllowed({ requestedResource, configuredResource: metadata.resource })) {
    throw new SignInError(name, `its metadata are for ${show(metadata.resource)}, not for ${show(requested.href)}`);
  }
  return metadata;
}

/** Of a server's own path, then of its origin. */
function resourcePlaces(server: string): readonly URL[] {
  const { origin, pathname, search } = new URL(server);
  const wellKnown = new URL('/.well-known/oauth-protected-resource', origin);
  if (pathname === '/') return [new URL(search, wellKnown)];
  return [new URL(`${wellKnown.pathname}${pathname.replace(/\/$/, '')}${search}`, origin), wellKnown];
}

/** @throws Error that says the first member that is wrong */
function checked<T extends z.ZodType>(schema: T, members: Readonly<Record<string, unknown>>): z.infer<T> {
  const { data, error } = schema.safeParse(members);
  const [issue] = error?.issues ?? [];
  if (issue !== undefined) throw new Error(`${issue.path.join('.')}: ${issue.message}`);
  return data as z.infer<T>;
}

/** Whether both name one authorization server: a slash at the end makes no other of it. */
export const sameIssuer = (a: string, b: string | undefined): boolean => a.replace(/\/$/, '') === b?.replace(/\/$/, '');

function answerWith(challenge: string): Response {
  const headers = new Headers();
  try {
    headers.set('www-authenticate', challenge);
  } catch {
    // What is no header value says nothing.
  }
  return new Response(null, { headers });
}
