import { z } from 'zod';
import { isLoopbackHost } from '../../core/text/isLoopbackHost.js';

/** How a server is signed in to by OAuth: `auth` of its config. Tokens are never in a config. */
export interface OAuthSettings {
  /** The kind of sign-in. */
  readonly type: 'oauth';
  /**
   * `authorization_code`: a person signs in, in a browser (`mcp-poolkit auth <server>`). `client_credentials`: this program itself has
   * an account, by `clientId` and `clientSecret`.
   * @defaultValue 'authorization_code'
   */
  readonly grant?: 'authorization_code' | 'client_credentials';
  /** As the authorization server knows this program. @defaultValue `clientMetadataUrl` where such are taken, else it is registered at the sign-in */
  readonly clientId?: string;
  /** Shown to `issuer` alone, which must be named with it. @defaultValue none: a public client */
  readonly clientSecret?: string;
  /** Where the metadata of this client are published (an https URL with a path), for authorization servers that take such an id. @defaultValue none */
  readonly clientMetadataUrl?: string;
  /** What is asked for. @defaultValue what the server asks for, else all that it names */
  readonly scopes?: readonly string[];
  /** The only authorization server that is trusted, to the letter but for a slash at its end. @defaultValue the first that the server names */
  readonly issuer?: string;
  /** Port on loopback that the browser comes back to; 0 takes a free one. @defaultValue 0 */
  readonly redirectPort?: number;
  /**
   * Whether the server and its authorization server may have private addresses, and be reached by plain http there. Without it a server on
   * loopback may still have an authorization server on loopback.
   * @defaultValue false
   */
  readonly allowPrivateNetwork?: boolean;
}

const text = z.string({ error: 'expected a string' }).min(1, 'expected a string that is not empty');

export const oauthSchema = z.strictObject(
  {
    type: z.literal('oauth', { error: 'expected "oauth"' }),
    grant: z
      .enum(['authorization_code', 'client_credentials'], {
        error: 'expected one of "authorization_code", "client_credentials"',
      })
      .optional(),
    clientId: text.optional(),
    clientSecret: text.optional(),
    clientMetadataUrl: text.optional(),
    scopes: z
      .array(text.regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'expected a scope: no spaces, quotes or backslashes'), {
        error: 'expected an array of strings',
      })
      .optional(),
    issuer: text.optional(),
    redirectPort: z
      .int({ error: 'expected a port from 0 to 65535' })
      .min(0, 'expected a port from 0 to 65535')
      .max(65_535, 'expected a port from 0 to 65535')
      .optional(),
    allowPrivateNetwork: z.boolean({ error: 'expected true or false' }).optional(),
  },
  { error: (issue) => (issue.code === 'unrecognized_keys' ? undefined : 'expected an object with "type": "oauth"') },
);

/** Settings with the variables in their texts expanded. */
export function readOAuth(
  given: z.infer<typeof oauthSchema> | undefined,
  expand: (field: string, text: string, isUrl: boolean) => string | undefined,
): OAuthSettings | undefined {
  if (given === undefined) return undefined;
  const auth: Record<string, unknown> = { ...given };
  for (const field of ['clientId', 'clientSecret', 'clientMetadataUrl', 'issuer'] as const) {
    const text = given[field];
    const isUrl = field === 'clientMetadataUrl' || field === 'issuer';
    if (text !== undefined) auth[field] = expand(`auth.${field}`, text, isUrl);
  }
  return auth as unknown as OAuthSettings;
}

/** What is wrong with settings whose fields are each in order, and where; undefined when nothing is. */
export function oauthProblem(
  auth: OAuthSettings,
  { url, headers = {} }: { readonly url: string; readonly headers?: Readonly<Record<string, string>> },
): { readonly field: string; readonly why: string } | undefined {
  const { grant, clientId, clientSecret, clientMetadataUrl, issuer, allowPrivateNetwork = false } = auth;
  const bad = (field: string, why: string): { readonly field: string; readonly why: string } => ({ field, why });
  if (Object.keys(headers).some((name) => name.toLowerCase() === 'authorization')) {
    return bad('auth', 'expected no Authorization in headers beside it: the token comes from the sign-in');
  }
  for (const field of ['clientId', 'clientSecret', 'clientMetadataUrl', 'issuer'] as const) {
    if (auth[field] === '') return bad(`auth.${field}`, 'expected a string that is not empty');
  }
  if (grant === 'client_credentials' && (clientId === undefined || clientSecret === undefined)) {
    const field = clientId === undefined ? 'auth.clientId' : 'auth.clientSecret';
    return bad(field, 'expected the clientId and clientSecret that client_credentials needs');
  }
  if (clientSecret !== undefined && clientId === undefined)
    return bad('auth.clientId', 'expected one with clientSecret');
  if (clientSecret !== undefined && issuer === undefined) {
    return bad('auth.issuer', 'expected one with clientSecret: the server must not choose who is shown the secret');
  }
  if (clientMetadataUrl !== undefined) {
    if (clientId !== undefined) return bad('auth.clientMetadataUrl', 'expected none beside clientId');
    const { protocol, pathname } = URL.canParse(clientMetadataUrl)
      ? new URL(clientMetadataUrl)
      : { protocol: '', pathname: '/' };
    if (protocol !== 'https:' || pathname === '/')
      return bad('auth.clientMetadataUrl', 'expected an https URL with a path');
  }
  const secret = (address: string): boolean => {
    const { protocol, hostname } = URL.canParse(address) ? new URL(address) : { protocol: '', hostname: '' };
    return protocol === 'https:' || (protocol === 'http:' && (allowPrivateNetwork || isLoopbackHost(hostname)));
  };
  const plain = 'expected https: tokens go there, and plain http is for loopback or with auth.allowPrivateNetwork';
  if (issuer !== undefined && !secret(issuer)) return bad('auth.issuer', plain);
  return secret(url) ? undefined : bad('url', plain);
}
