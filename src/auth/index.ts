export type { OAuthSettings } from '../registry/config/OAuthSettings.js';
export { SignIn } from './SignIn.js';
export {
  SIGN_IN_ON_LOOPBACK_DEFAULTS,
  type SignInOnLoopbackOptions,
  signInOnLoopback,
} from './signInOnLoopback.js';
export { FileTokenStore, type FileTokenStoreOptions } from './store/FileTokenStore.js';
export type { StoredGrant, TokenStore } from './store/TokenStore.js';
export {
  type BeginOptions,
  type SignInStatus,
  UPSTREAM_OAUTH_DEFAULTS,
  UpstreamOAuth,
  type UpstreamOAuthOptions,
} from './UpstreamOAuth.js';
