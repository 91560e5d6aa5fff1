import { type AuthorizationServerMetadata, OAuthError, type OAuthTokens } from '@modelcontextprotocol/client';
import { messageOf, SignInError, show } from '../core/errors.js';
import type { OAuthServer } from './OAuthServer.js';
import type { StoredGrant } from './store/TokenStore.js';

/** No date is later; a number that is not finite could not be stored. */
const LAST_MS = 8.64e15;

/** Less than a file of a sign-in may have: it holds the client, too. */
const MAX_TOKENS_BYTES = 49_152;

/** What of a token response is kept. @throws SignInError for one that is no bearer token, or too large */
export function grantOf(
  { name }: OAuthServer,
  tokens: OAuthTokens,
  askedAt: number,
): Required<Pick<StoredGrant, 'accessToken'>> & Pick<StoredGrant, 'refreshToken' | 'scope' | 'expiresAt'> {
  const { access_token, token_type, refresh_token, scope, expires_in } = tokens;
  if (token_type.toLowerCase() !== 'bearer') {
    throw new SignInError(
      name,
      `the authorization server gave a token of type ${show(token_type)}, not a bearer token`,
    );
  }
  // It goes into a header (RFC 6750).
  if (!/^[A-Za-z0-9\-._~+/]+=*$/.test(access_token)) {
    throw new SignInError(name, 'the authorization server gave a token with characters that no header takes');
  }
  const grant = {
    accessToken: access_token,
    ...(refresh_token !== undefined && { refreshToken: refresh_token }),
    ...(scope !== undefined && { scope }),
    ...(expires_in !== undefined && { expiresAt: Math.min(Math.max(0, askedAt + expires_in * 1_000), LAST_MS) }),
  };
  const bytes = Buffer.byteLength(JSON.stringify(grant));
  if (bytes <= MAX_TOKENS_BYTES) return grant;
  const why = `the authorization server gave tokens of ${bytes} bytes: more than ${MAX_TOKENS_BYTES} are not kept`;
  throw new SignInError(name, why);
}

/** The client's id, with a secret from the config where it has one; else the registered client's own. */
export function clientInformation(
  { auth }: OAuthServer,
  client: StoredGrant['client'],
): { readonly client_id: string; readonly client_secret?: string; readonly token_endpoint_auth_method?: string } {
  const { id, method } = client;
  const secret = auth.clientId === id ? auth.clientSecret : client.secret;
  return {
    client_id: id,
    ...(secret !== undefined && { client_secret: secret }),
    ...(method !== undefined && { token_endpoint_auth_method: method }),
  };
}

/** Whether the authorization server has refused what it was shown for good, so that only a new sign-in helps. */
export const isFinal = (error: unknown): boolean =>
  error instanceof OAuthError &&
  ['invalid_grant', 'invalid_client', 'unauthorized_client', 'invalid_scope'].includes(error.code);

/** What went wrong with an authorization server; `secrets` that it repeats are not passed on. */
export function failedAt(
  { name }: OAuthServer,
  { issuer }: AuthorizationServerMetadata,
  error: unknown,
  secrets: readonly (string | undefined)[],
): SignInError {
  if (error instanceof SignInError) return error;
  const code = error instanceof OAuthError ? `${error.code}: ` : '';
  const said = withoutSecrets(`${code}${messageOf(error)}`, secrets);
  // A cause would repeat them.
  return new SignInError(name, `${issuer}: ${show(said).slice(1, -1)}`);
}

/** So much of what an authorization server says of a failure is looked at; what is shown is shorter. */
const LOOKED_AT = 2_048;

/**
 * The beginning of a text without secrets, as they are or as they went out: encoded for a form, or in base64 (`Authorization: Basic`).
 * Where the text is longer, nothing is left that may be the beginning of a secret.
 */
function withoutSecrets(text: string, secrets: readonly (string | undefined)[]): string {
  const given = secrets.filter((each) => each !== undefined && each !== '') as string[];
  const forms = given.flatMap((each) => [
    each,
    encodeURIComponent(each),
    new URLSearchParams([['', each]]).toString().slice(1),
  ]);
  const sought = forms.flatMap((each) => [Buffer.from(each), Buffer.from(each, 'latin1')]);
  let said = text.slice(0, LOOKED_AT);
  for (const each of forms) said = said.replaceAll(each, '***');
  said = said.replace(/[\w+/-]{4,}={0,2}/g, (run) => {
    // What stands before it may be characters of base64, too.
    const decoded = [0, 1, 2, 3].map((skipped) => Buffer.from(run.slice(skipped), 'base64'));
    const found = sought.some((each) => decoded.some((bytes) => each.length <= bytes.length && bytes.includes(each)));
    return found ? '***' : run;
  });
  if (text.length <= LOOKED_AT) return said;
  // In base64 a secret is longer by a third.
  const cut = 2 * forms.reduce((longest, { length }) => Math.max(longest, length), 4);
  return said.length > cut ? said.slice(0, -cut) : `an error of ${text.length} characters`;
}
