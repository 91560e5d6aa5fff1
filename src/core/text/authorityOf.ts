/** The authority of a request target in absolute form, which stands in place of `Host` (RFC 9112, 3.2.2); undefined for a path. */
export function authorityOf(target = '/'): string | undefined {
  return target.startsWith('/') ? undefined : /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(target)?.[1];
}
