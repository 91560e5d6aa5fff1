import { signInOnLoopback } from '../../auth/signInOnLoopback.js';
import type { SignInStatus, UpstreamOAuth } from '../../auth/UpstreamOAuth.js';
import { messageOf, OptionError, show } from '../../core/errors.js';
import type { SingleServerConfig } from '../../registry/config/ServerConfig.js';
import { isSeveral, targetsOf } from '../../registry/config/targets/targetsOf.js';
import { loadConfig, notThere } from '../configs.js';
import { complain } from '../output/complain.js';
import { cut } from '../output/plain.js';
import { writeOut } from '../output/showResult.js';
import { oauthOf } from './oauthOf.js';
import type { TokensOption } from './tokensFlag.js';

export interface AuthOptions extends TokensOption {
  readonly config?: string;
  readonly status?: boolean;
  readonly logout?: boolean;
  readonly scope?: readonly string[];
  readonly timeoutMs: number;
  readonly json?: boolean;
}

/** Characters of what an authorization server is called, or gave. */
const MAX_SHOWN = 500;

/** `mcp-poolkit auth`: the exit code says whether the server is signed in to, or signed out of. */
export async function auth(server: string, options: AuthOptions): Promise<void> {
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort(new Error('interrupted'));
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    const oauth = oauthOf(options);
    for (const config of await serversOf(server, options.config)) {
      if (options.logout === true) await logout(oauth, config, options, interrupted.signal);
      else if (options.status === true) {
        const status = await oauth.status(config);
        if (!status.signedIn) process.exitCode = 1;
        await tell(options, { event: 'status', server, ...status }, describe(server, status));
      } else await signIn(oauth, config, options, interrupted.signal);
    }
  } catch (error) {
    complain(messageOf(error));
    process.exitCode = 1;
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }
}

async function signIn(
  oauth: UpstreamOAuth,
  config: SingleServerConfig,
  options: AuthOptions,
  signal: AbortSignal,
): Promise<void> {
  const { name } = config;
  await signInOnLoopback(oauth, config, {
    timeoutMs: options.timeoutMs,
    signal,
    ...(options.scope && { scopes: options.scope }),
    onUrl: ({ url, issuer }) => {
      const text = `To sign in to ${show(name)} at ${cut(issuer, MAX_SHOWN)}, open this page in a browser on this machine:\n\n  ${url}\n\n`;
      void tell(options, { event: 'open', server: name, url, issuer }, text);
    },
  });
  const status = await oauth.status(config);
  await tell(options, { event: 'signed in', server: name, ...status }, describe(name, status));
}

async function logout(
  oauth: UpstreamOAuth,
  config: SingleServerConfig,
  options: AuthOptions,
  signal: AbortSignal,
): Promise<void> {
  const { revoked } = await oauth.signOut(config, { signal });
  const text = `Signed out of ${show(config.name)}${revoked ? '; its authorization server has ended the token' : ''}.\n`;
  await tell(options, { event: 'signed out', server: config.name, revoked }, text);
}

/** One, or each of its targets that has a sign-in. */
async function serversOf(server: string, file: string | undefined): Promise<SingleServerConfig[]> {
  const config = await loadConfig(file);
  const found = config.servers.find(({ name }) => name === server);
  if (found === undefined) throw notThere(config, server);
  const all = isSeveral(found) ? targetsOf(found).map(({ config }) => config) : [found];
  const signedIn = all.filter((each) => each.transport !== 'stdio' && each.auth !== undefined);
  if (signedIn.length > 0) return signedIn;
  throw new OptionError(
    'server',
    server,
    'a server with a url and a sign-in: write "auth": { "type": "oauth" } into its entry',
  );
}

function describe(server: string, { signedIn, issuer, scope, expiresAt, renewable }: SignInStatus): string {
  const name = show(server);
  if (!signedIn && issuer === undefined) return `Not signed in to ${name}: run mcp-poolkit auth ${server}\n`;
  const until =
    expiresAt === undefined ? '' : `, ${signedIn ? 'until' : 'which ended'} ${new Date(expiresAt).toISOString()}`;
  const rest = [scope && `scope ${cut(scope, MAX_SHOWN)}`, renewable === true && 'renewed by itself']
    .filter(Boolean)
    .join(', ');
  return `${signedIn ? 'Signed in' : 'Not signed in any more'} to ${name} at ${cut(issuer ?? '', MAX_SHOWN)}${until}${rest && ` (${rest})`}.\n`;
}

const tell = ({ json }: AuthOptions, event: object, text: string): Promise<void> =>
  writeOut(json === true ? `${JSON.stringify(event)}\n` : text);
