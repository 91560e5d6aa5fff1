import { oauthServerOf } from '../../auth/OAuthServer.js';
import type { UpstreamOAuth } from '../../auth/UpstreamOAuth.js';
import type { Logger } from '../../core/logger.js';
import type { CredentialsHook } from '../../pool/server/callers/Credentials.js';
import type { TokensOption } from './tokensFlag.js';

/** What a pool acts with where servers are signed in to. It is loaded for the first of them: that takes as long as a third of a start. */
export function credentialsOf(options: TokensOption, logger: Logger): CredentialsHook {
  let oauth: UpstreamOAuth | undefined;
  const credentials: CredentialsHook = async (request) => {
    if (oauthServerOf(request.config) === undefined) return undefined;
    const { oauthOf } = await import('./oauthOf.js');
    oauth ??= oauthOf(options, logger);
    return oauth.credentials(request);
  };
  return Object.assign(credentials, { settled: async () => oauth?.credentials.settled?.() });
}
