import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { authorityOf } from '../../../core/text/authorityOf.js';
import { allowedNameOf, hostNameOf } from '../../../core/text/hostName.js';
import type { GatewaySettings } from '../../GatewayOptions.js';

const LOCAL: readonly string[] = ['localhost', '127.0.0.1', '[::1]'];

/** What a request is refused with: 400 for a header that is not of its grammar, 403 for a name that may not ask. */
export interface Refused {
  readonly status: 400 | 403 | 431;
  readonly why: string;
}

/**
 * Headers of one request. Node leaves out what stands behind `maxHeadersCount` (2,000) of its server without a word, a second Host, a foreign Origin,
 * the length of the body: where that is more than this, no such request gets by.
 */
export const MAX_HEADERS = 128;

/** What is looked at of a request; of one that Node did not read there may be no `rawHeaders`. */
type Asked = Pick<IncomingMessage, 'headers' | 'url'> & { readonly rawHeaders?: readonly string[] };

/** A scheme and a host (RFC 6454, 6.2), without user, path or query. */
const ORIGIN = /^https?:\/\/([^/?#@\\\s]+)$/i;

/**
 * Checks the two headers a web page cannot forge: `Host`, against DNS rebinding, with what a request target says in its place, and `Origin`. They are compared as they
 * stand, against a strict grammar: a URL parser reads `127.1`, `0x7f.1` or `localhost\@evil.com` as this machine.
 */
export class Guard {
  readonly #hosts: ReadonlySet<string>;
  readonly #origins: ReadonlySet<string>;

  constructor(settings: Pick<GatewaySettings, 'host' | 'allowedHosts' | 'allowedOrigins'>) {
    const own = isIP(settings.host) === 6 ? `[${settings.host}]` : settings.host;
    const lower = (names: readonly string[]): Set<string> => new Set(names.map((name) => name.toLowerCase()));
    // Without the ports that some are given with.
    const allowed = settings.allowedHosts.map((each) => allowedNameOf(each) ?? each);
    this.#hosts = lower([...LOCAL, own, ...allowed]);
    this.#origins = lower([...LOCAL, ...settings.allowedOrigins.map((each) => allowedNameOf(each) ?? each)]);
  }

  /** Why a request must be refused; undefined when it need not. */
  refusal(request: Asked): Refused | undefined {
    return this.#refusal(request, false);
  }

  /**
   * The same for a probe, which may also ask by address, as a platform does: no page can have an address for its name and
   * reach us without being our own.
   */
  probeRefusal(request: Asked): Refused | undefined {
    return this.#refusal(request, true);
  }

  #refusal({ headers: { host, origin }, rawHeaders = [], url }: Asked, byAddress: boolean): Refused | undefined {
    if (rawHeaders.length > 2 * MAX_HEADERS) return { status: 431, why: `${MAX_HEADERS} headers, not more` };
    if (times('host', rawHeaders) > 1) return { status: 400, why: 'one Host header, not several' };
    if (times('origin', rawHeaders) > 1) return { status: 400, why: 'one Origin header, not several' };
    const authority = authorityOf(url);
    const refused = authority === undefined ? undefined : this.#hostRefusal(authority, byAddress);
    return refused ?? this.#hostRefusal(host, byAddress) ?? this.#originRefusal(origin);
  }

  #hostRefusal(host: string | undefined, byAddress: boolean): Refused | undefined {
    // A probe of HTTP/1.0 has none, and a page's request always has one.
    if (host === undefined && byAddress) return undefined;
    const name = hostNameOf(host);
    if (name === undefined) {
      // One that names a foreign host behind what does not belong there is foreign first of all.
      const behind = hostNameOf(/^[\w.:-]+@(.+)$/.exec(host ?? '')?.[1]);
      const foreign = behind !== undefined && !this.#hosts.has(behind);
      return { status: foreign ? 403 : 400, why: 'Host must be a name or an address, and a port or none' };
    }
    if (this.#hosts.has(name) || (byAddress && isIP(name.replace(/^\[|\]$/g, '')) !== 0)) return undefined;
    return { status: 403, why: `Host ${name} is not allowed` };
  }

  #originRefusal(origin: string | undefined): Refused | undefined {
    if (origin === undefined) return undefined;
    const name = hostNameOf(ORIGIN.exec(origin)?.[1]);
    if (name === undefined && /^https?:/i.test(origin))
      return { status: 400, why: 'Origin must be a scheme and a host' };
    if (name !== undefined && this.#origins.has(name)) return undefined;
    return { status: 403, why: `Origin ${name ?? 'that is no web page’s'} is not allowed` };
  }
}

function times(name: string, rawHeaders: readonly string[]): number {
  let count = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const each = rawHeaders[i] as string;
    if (each.length === name.length && each.toLowerCase() === name) count++;
  }
  return count;
}
