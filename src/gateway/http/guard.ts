import { isIP } from 'node:net';
import { validateHostHeader, validateOriginHeader } from '@modelcontextprotocol/server';
import type { GatewaySettings } from '../GatewayOptions.js';

const LOCAL: readonly string[] = ['localhost', '127.0.0.1', '[::1]'];
const MAX_REMEMBERED = 100;

/**
 * Checks the two headers a web page cannot forge: `Host`, against DNS rebinding, and `Origin`. Verdicts are remembered,
 * since each costs the parse of a URL.
 */
export class Guard {
  readonly #hosts: string[];
  readonly #origins: string[];
  readonly #verdicts = new Map<string, string | undefined>();

  constructor(settings: Pick<GatewaySettings, 'host' | 'allowedHosts' | 'allowedOrigins'>) {
    const own = isIP(settings.host) === 6 ? `[${settings.host}]` : settings.host;
    this.#hosts = [...LOCAL, own, ...settings.allowedHosts];
    this.#origins = [...LOCAL, ...settings.allowedOrigins];
  }

  /** Why a request must be refused; undefined when it need not. */
  refusal(host: string | undefined, origin: string | undefined): string | undefined {
    const key = `${host ?? ''}\n${origin ?? ''}`;
    if (this.#verdicts.has(key)) return this.#verdicts.get(key);
    const why = this.#check(host, origin);
    if (this.#verdicts.size >= MAX_REMEMBERED) this.#verdicts.clear();
    this.#verdicts.set(key, why);
    return why;
  }

  /**
   * The same for a probe, which may also ask by address, as a platform does: no page can have an address for its name and
   * reach us without being our own.
   */
  probeRefusal(host: string | undefined, origin: string | undefined): string | undefined {
    const name = /^\[(.*)\](:\d+)?$|^([^:]*)(:\d+)?$/.exec(host ?? '');
    const address = isIP(name?.[1] ?? name?.[3] ?? '') !== 0;
    return this.refusal(address ? 'localhost' : host, origin);
  }

  #check(host: string | undefined, origin: string | undefined): string | undefined {
    const byHost = validateHostHeader(host, this.#hosts);
    if (!byHost.ok) return byHost.message;
    const byOrigin = validateOriginHeader(origin, this.#origins);
    return byOrigin.ok ? undefined : byOrigin.message;
  }
}
