import { unescape as decoded } from 'node:querystring';

/** Shorter values, as `true` or `eu-1`, stand in any text. */
const MIN_CHARS = 8;
const SCHEME = /^([\w-]+) +(\S.*)$/;

/**
 * What a server may repeat of a request that it refuses, and that others may not read: of the paths that it was sent to what stands between
 * slashes, where some hosts have their keys, and the values of the query; and the values of headers (names and values in turn), with
 * what stands behind a scheme, the password of `Basic`, and each cookie.
 */
export function sentSecrets(paths: readonly string[], headers: readonly string[]): string[] {
  const sent = headers.filter((_, at) => at % 2 === 1).flatMap((value) => [value, ...partsOf(value)]);
  const all = new Set([...paths.flatMap(partsOfPath), ...sent]);
  return [...all].filter(({ length }) => length >= MIN_CHARS);
}

function partsOfPath(path: string): string[] {
  const [place = '', query = ''] = path.split(/\?(.*)/s);
  const raw = [...place.split('/'), ...query.split('&').map(behindEquals)];
  return [...raw, ...raw.map(decoded), ...new URLSearchParams(query).values()];
}

function partsOf(value: string): string[] {
  const [, scheme = '', credentials = ''] = SCHEME.exec(value) ?? [];
  const basic = scheme.toLowerCase() === 'basic' ? Buffer.from(credentials, 'base64').toString() : '';
  return [credentials, basic.slice(basic.indexOf(':') + 1), ...value.split('; ').map(behindEquals)];
}

const behindEquals = (pair: string): string => pair.slice(pair.indexOf('=') + 1);

/** A text as bytes without these secrets, as they are or as they stand in a URL, a form or JSON: `***` in their place. */
export function withoutSent(bytes: Buffer, secrets: readonly string[]): Buffer {
  const forms = secrets.flatMap((each) => [
    each,
    encodeURIComponent(each),
    new URLSearchParams([['', each]]).toString().slice(1),
    JSON.stringify(each).slice(1, -1),
  ]);
  let text = bytes.toString('latin1');
  const sought = [...new Set(forms)].sort((a, b) => b.length - a.length);
  for (const each of sought) text = text.replaceAll(Buffer.from(each).toString('latin1'), '***');
  return text.length === bytes.length ? bytes : Buffer.from(text, 'latin1');
}
