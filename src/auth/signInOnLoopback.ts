import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { systemClock } from '../core/clock.js';
import { OptionError, SignInError } from '../core/errors.js';
import { checkFunction, checkMs, checkOptions, checkPart, withDefaults } from '../core/options.js';
import { within } from '../core/time/within.js';
import type { SingleServerConfig } from '../registry/config/ServerConfig.js';
import type { SignIn } from './SignIn.js';
import type { BeginOptions, UpstreamOAuth } from './UpstreamOAuth.js';

export interface SignInOnLoopbackOptions extends Omit<BeginOptions, 'redirectUrl'> {
  /** Told the page that the person is to open, and whose it is. */
  readonly onUrl: (page: Pick<SignIn, 'url' | 'issuer'>) => void;
  /** Longest wait for the person, in ms, from 1. @defaultValue 300000 */
  readonly timeoutMs?: number;
}

export const SIGN_IN_ON_LOOPBACK_DEFAULTS = Object.freeze({ timeoutMs: 300_000 });

const PATH = '/callback';
/** Browsers hold a few connections open; no other program has business here. The oldest gives way: none keeps the browser out. */
const MAX_CONNECTIONS = 64;
/** How long a connection may say nothing, in ms. */
const SILENT_MS = 10_000;

/**
 * Signs in a person who has a browser on this machine (RFC 8252): listens on 127.0.0.1, has `onUrl` show the page, waits for the browser to
 * come back. What comes there with another `state` is refused and waited past: a page elsewhere can neither end this sign-in nor put its own
 * in its place. Afterwards nothing listens. @throws OptionError, SignInError
 */
export async function signInOnLoopback(
  oauth: UpstreamOAuth,
  config: SingleServerConfig,
  options: SignInOnLoopbackOptions,
): Promise<void> {
  const others = { onUrl: true, principal: true, scopes: true, challenge: true, signal: true } as const;
  const { onUrl, timeoutMs, ...begin } = withDefaults(
    'signInOnLoopback',
    options,
    SIGN_IN_ON_LOOPBACK_DEFAULTS,
    others,
  );
  checkFunction('onUrl', onUrl);
  checkMs('timeoutMs', timeoutMs, { min: 1 });
  checkPart('oauth', oauth, ['begin'], 'an UpstreamOAuth');
  checkOptions('config', config, 'a server');
  if (config.transport === 'stdio') throw new OptionError('config.transport', 'stdio', 'a server with a url');
  let signIn: SignIn | undefined;
  let done: (callback: URLSearchParams) => void = () => undefined;
  const came = new Promise<URLSearchParams>((resolve) => {
    done = resolve;
  });
  const server = createServer((request, response) => {
    const callback = callbackOf(request, server);
    const ours = callback !== undefined && signIn?.owns(callback) === true;
    say(response, ours);
    if (ours) done(callback);
  });
  boundConnections(server);
  try {
    const port = await listen(server, config.auth?.redirectPort ?? 0);
    signIn = await oauth.begin(config, { ...begin, redirectUrl: `http://127.0.0.1:${port}${PATH}` });
    onUrl({ url: signIn.url, issuer: signIn.issuer });
    const late = (): Error => new SignInError(config.name, `no browser came back within ${timeoutMs} ms`);
    const callback = await within(came, { clock: systemClock, timeoutMs, late, signal: begin.signal });
    await signIn.finish(callback);
  } finally {
    // The answer to the browser is written by then, or no one waits for it.
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }
}

function boundConnections(server: Server): void {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    // Node's own times begin with a request.
    socket.setTimeout(SILENT_MS, () => socket.destroy());
    const [oldest] = open;
    if (open.size > MAX_CONNECTIONS) oldest?.destroy();
  });
}

/** The query of a request to the redirect URL by its own name, so that no other site's name leads here. */
function callbackOf(
  { method, url = '', headers: { host } }: IncomingMessage,
  server: Server,
): URLSearchParams | undefined {
  const { port } = server.address() as AddressInfo;
  if (method !== 'GET' || host !== `127.0.0.1:${port}`) return undefined;
  const [path, query = ''] = url.split('?', 2);
  return path === PATH ? new URLSearchParams(query) : undefined;
}

/** Nothing of the request is shown, nor kept by the browser. */
function say(response: ServerResponse, ours: boolean): void {
  response.writeHead(ours ? 200 : 400, {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    connection: 'close',
  });
  response.end(
    ours
      ? 'Back at mcp-poolkit: see the terminal. This page can be closed.\n'
      : 'This is no sign-in that was begun here.\n',
  );
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject);
      server.on('error', () => undefined);
      resolve((server.address() as AddressInfo).port);
    });
  });
}
