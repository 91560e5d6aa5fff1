import { FileTokenStore } from '../../auth/store/FileTokenStore.js';
import { UpstreamOAuth } from '../../auth/UpstreamOAuth.js';
import type { Logger } from '../../core/logger.js';

/** Where the commands look for what people's sign-ins gave. */
export interface TokensOption {
  readonly tokens?: string;
}

/** The flags of `--tokens`, the same for every command. */
export const TOKENS_FLAG = [
  '--tokens <folder>',
  'where sign-ins are kept (default: the data folder of this user)',
] as const;

/** Sign-ins as `mcp-poolkit auth` has stored them. */
export function oauthOf({ tokens }: TokensOption, logger?: Logger): UpstreamOAuth {
  const store = new FileTokenStore(tokens === undefined ? {} : { directory: tokens });
  return new UpstreamOAuth({ store, ...(logger && { logger }) });
}
