import { createHash } from 'node:crypto';
import { isLoopbackHost } from '../core/text/isLoopbackHost.js';
import type { OAuthSettings } from '../registry/config/OAuthSettings.js';
import type { SingleServerConfig } from '../registry/config/ServerConfig.js';
import type { Reach } from './net/addresses.js';

/** A server that is signed in to. */
export interface OAuthServer {
  readonly name: string;
  readonly url: string;
  readonly auth: OAuthSettings;
}

/** What of a config is for signing in; undefined where nothing is. */
export function oauthServerOf(config: SingleServerConfig): OAuthServer | undefined {
  if (config.transport === 'stdio' || config.auth === undefined) return undefined;
  return { name: config.name, url: config.url, auth: config.auth };
}

/** How far its sign-in may reach: what stands on this machine may name this machine. */
export function reachOf({ url, auth }: OAuthServer): Reach {
  if (auth.allowPrivateNetwork === true) return 'any';
  return isLoopbackHost(new URL(url).hostname) ? 'loopback' : 'public';
}

/** Under which a grant is kept: a server by name and URL, for one principal. */
export function keyOf({ name, url }: OAuthServer, principal: string | undefined): string {
  return createHash('sha256')
    .update(JSON.stringify([name, url, principal ?? null]))
    .digest('base64url');
}
