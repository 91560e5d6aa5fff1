import { createSecureContext, type ConnectionOptions as TlsOptions } from 'node:tls';
import { messageOf, OptionError } from '../../core/errors.js';
import { checkBoolean, checkBytes, checkCount, checkMs, checkOptions } from '../../core/options.js';
import { headerProblem } from '../../core/text/headers.js';

/** What the sockets of the URL transports go by. */
export interface HttpDispatcherOptions {
  /** Longest connecting, TLS included, in ms, from 1. @defaultValue 10000 */
  readonly connectTimeoutMs?: number;
  /** Bytes of a response's headers, from 1024. @defaultValue 16384 */
  readonly maxHeaderBytes?: number;
  /** How long an idle socket is kept where the server does not say, in ms, from 1. @defaultValue 4000 */
  readonly keepAliveMs?: number;
  /**
   * Sockets for replies and notifications to a server, at each of its URLs, over all connections, from 1. Those of calls are as many as there
   * are. @defaultValue 64
   */
  readonly maxReplySockets?: number;
  /**
   * Open `subscriptions/listen` streams (modern era) over all connections, each with a socket, from 1. One caller has three quarters of what
   * others leave at most. Beyond it a subscription is refused with `ERR_QUEUE_FULL`. @defaultValue 4096
   */
  readonly maxSubscriptionStreams?: number;
  /**
   * Bytes of answers on their way, over all connections: bodies and events that are not complete, of 16 KiB and less none, from 1024. One
   * server has three quarters of what others leave at most, and one caller three quarters of that; beyond it the call whose answer grows
   * fails with `ERR_MESSAGE_TOO_LARGE`. `Infinity`: no bound. @defaultValue 536870912
   */
  readonly maxIncomingBytes?: number;
  /**
   * URLs are reached through the proxy that `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` name, loopback
   * addresses never. @defaultValue true
   */
  readonly proxyFromEnv?: boolean;
  /** TLS options as `node:tls` takes them: `ca`, `cert`, `key`, `servername`, `rejectUnauthorized`. @defaultValue Node's own */
  readonly tls?: TlsOptions;
}

/** Bounds of one URL connection's answers. */
export interface HttpTransportOptions {
  /** Longest wait for a response's headers, in ms. `Infinity`: as long as the call may take. @defaultValue Infinity */
  readonly headersTimeoutMs?: number;
  /**
   * Longest silence within a JSON body, or an event of more than 16 KiB, in ms; between events streams may be silent. `Infinity` never.
   * @defaultValue 60000
   */
  readonly bodyTimeoutMs?: number;
  /** Bytes of one event of a stream, from 1024. The default is the connection's `maxMessageBytes`. @defaultValue the connection's `maxMessageBytes` */
  readonly maxEventBytes?: number;
  /**
   * Bytes, as held, of our replies to the server's requests that it has not accepted, from 65,536. Beyond it the
   * connection ends. Replies of more than 16 KiB have as much of their own: one is always taken, what finds no room is told to the server
   * as an error. @defaultValue 4 MiB
   */
  readonly maxReplyBytes?: number;
}

/** The defaults of the URL transports. */
export const HTTP_DEFAULTS = Object.freeze({
  connectTimeoutMs: 10_000,
  maxHeaderBytes: 16 * 1024,
  keepAliveMs: 4_000,
  maxReplySockets: 64,
  maxSubscriptionStreams: 4_096,
  maxIncomingBytes: 512 * 1024 * 1024,
  proxyFromEnv: true,
  headersTimeoutMs: Number.POSITIVE_INFINITY,
  bodyTimeoutMs: 60_000,
  maxReplyBytes: 4 * 1024 * 1024,
});

export function resolveDispatcherOptions(options: HttpDispatcherOptions): Required<Omit<HttpDispatcherOptions, 'tls'>> {
  const { connectTimeoutMs, maxHeaderBytes, keepAliveMs, maxReplySockets, maxSubscriptionStreams } = HTTP_DEFAULTS;
  const { maxIncomingBytes, proxyFromEnv } = HTTP_DEFAULTS;
  if (options.tls !== undefined) checkTls(options.tls);
  return {
    connectTimeoutMs: checkMs('connectTimeoutMs', options.connectTimeoutMs ?? connectTimeoutMs, { min: 1 }),
    maxHeaderBytes: checkBytes('maxHeaderBytes', options.maxHeaderBytes ?? maxHeaderBytes, { min: 1_024 }),
    keepAliveMs: checkMs('keepAliveMs', options.keepAliveMs ?? keepAliveMs, { min: 1 }),
    maxIncomingBytes: checkBytes('maxIncomingBytes', options.maxIncomingBytes ?? maxIncomingBytes, {
      min: 1_024,
      infinity: true,
    }),
    proxyFromEnv: checkBoolean('proxyFromEnv', options.proxyFromEnv ?? proxyFromEnv),
    maxReplySockets: checkCount('maxReplySockets', options.maxReplySockets ?? maxReplySockets, { min: 1 }),
    maxSubscriptionStreams: checkCount(
      'maxSubscriptionStreams',
      options.maxSubscriptionStreams ?? maxSubscriptionStreams,
      { min: 1 },
    ),
  };
}

/** What no connection could be made with is told before the first one. @throws OptionError that names it, and shows nothing of a key */
function checkTls(tls: TlsOptions): void {
  checkOptions('tls', tls, 'an object of TLS options');
  const why = tlsProblem(tls);
  if (why === undefined) return;
  const { passphrase } = tls;
  const alone = (['cert', 'key', 'pfx', 'ca'] as const).find((name) => tlsProblem({ [name]: tls[name], passphrase }));
  throw new OptionError(
    alone === undefined ? 'tls' : `tls.${alone}`,
    '…',
    `what node:tls takes (${messageOf(why)})`,
    why,
  );
}

function tlsProblem(tls: TlsOptions): unknown {
  try {
    createSecureContext(tls);
    return undefined;
  } catch (error) {
    return error;
  }
}

export function resolveHttpTransportOptions(
  options: HttpTransportOptions,
  maxMessageBytes: number,
): Required<HttpTransportOptions> {
  const wait = { min: 1, infinity: true };
  return {
    headersTimeoutMs: checkMs('headersTimeoutMs', options.headersTimeoutMs ?? HTTP_DEFAULTS.headersTimeoutMs, wait),
    bodyTimeoutMs: checkMs('bodyTimeoutMs', options.bodyTimeoutMs ?? HTTP_DEFAULTS.bodyTimeoutMs, wait),
    maxReplyBytes: checkBytes('maxReplyBytes', options.maxReplyBytes ?? HTTP_DEFAULTS.maxReplyBytes, { min: 65_536 }),
    maxEventBytes: checkBytes('maxEventBytes', options.maxEventBytes ?? maxMessageBytes, { min: 1_024 }),
  };
}

/** An absolute http or https URL without user and password: those belong into `headers` or the credentials hook. */
export function checkUrl(option: string, value: unknown): URL {
  let url: URL;
  try {
    url = new URL(String(value));
  } catch (error) {
    throw new OptionError(option, value, 'an absolute http or https URL', error);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new OptionError(option, value, 'an absolute http or https URL');
  }
  if (url.username !== '' || url.password !== '') {
    throw new OptionError(option, url.origin, 'a URL without user and password');
  }
  return url;
}

/** Headers as a request has them: names and values in turn. @throws OptionError */
export function flat(option: string, headers: Readonly<Record<string, string>> = {}): string[] {
  return Object.entries(headers).flatMap(([name, value]) => {
    const problem = headerProblem(name, value);
    if (problem !== undefined) throw new OptionError(`${option}.${name}`, problem.got, problem.expected);
    return [name.toLowerCase(), value];
  });
}
