import { isIP } from 'node:net';

/**
 * The forward proxy that `url` is reached through, by `http_proxy`, `https_proxy` and `no_proxy` (or their upper-case
 * forms), read as curl and Go read them; undefined for none. Loopback addresses are never proxied.
 */
export function proxyFor(url: URL, env: Readonly<Record<string, string | undefined>> = process.env): URL | undefined {
  const of = (name: string): string => (env[name] ?? env[name.toUpperCase()] ?? '').trim();
  const value = of(url.protocol === 'https:' ? 'https_proxy' : 'http_proxy') || of('all_proxy');
  if (value === '' || loopback(url.hostname) || excepted(url, of('no_proxy'))) return undefined;
  const proxy = value.includes('://') ? value : `http://${value}`;
  return URL.canParse(proxy) && /^https?:/.test(proxy) ? new URL(proxy) : undefined;
}

/** What a proxy wants to know of us, as it stands in its URL. */
export function proxyAuthorization({ username, password }: URL): string | undefined {
  if (username === '' && password === '') return undefined;
  const text = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return `Basic ${Buffer.from(text).toString('base64')}`;
}

function loopback(hostname: string): boolean {
  if (hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]') return true;
  return isIP(hostname) === 4 && hostname.startsWith('127.');
}

function excepted(url: URL, list: string): boolean {
  const host = url.hostname.toLowerCase();
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  return list.split(/[\s,]+/).some((entry) => {
    if (entry === '*') return true;
    const [, name = '', only] = /^(.*?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? [];
    const bare = name.replace(/^\*?\./, '');
    if (bare === '' || (only !== undefined && only !== port)) return false;
    return host === bare || host === `[${bare}]` || host.endsWith(`.${bare}`);
  });
}
