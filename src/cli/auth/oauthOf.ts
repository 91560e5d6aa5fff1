import { FileTokenStore } from '../../auth/store/FileTokenStore.js';
import { UpstreamOAuth } from '../../auth/UpstreamOAuth.js';
import type { Logger } from '../../core/logger.js';
import type { TokensOption } from './tokensFlag.js';

/** Sign-ins as `mcp-poolkit auth` has stored them. */
export function oauthOf({ tokens }: TokensOption, logger?: Logger): UpstreamOAuth {
  const store = new FileTokenStore(tokens === undefined ? {} : { directory: tokens });
  return new UpstreamOAuth({ store, ...(logger && { logger }) });
}
