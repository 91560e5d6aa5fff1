import { InvalidArgumentError } from 'commander';
import { OptionError } from '../core/errors.js';
import { allowedNameOf, isHostName } from '../core/text/hostName.js';
import { isSource, linesOf, secretText } from './secretText.js';

/** A whole number in a range. @throws InvalidArgumentError */
export function whole(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
  };
}

/** The most that a timer takes. */
export const DAY_MS = 86_400_000;

/** A port to listen on. @throws InvalidArgumentError */
export const port = whole(0, 65_535);

/** The name of a file; whether it is there shows when it is opened. @throws InvalidArgumentError */
export const file = named('a file');

/** The same of a folder. @throws InvalidArgumentError */
export const folder = named('a folder');

/** Several files or other sources, as one option takes them. @throws InvalidArgumentError */
export const files = (text: string, before: readonly string[] = []): readonly string[] => [...before, file(text)];

/** Several names that stand in `Host` headers; a port says nothing there. @throws InvalidArgumentError */
export const hosts = (text: string, before: readonly string[] = []): readonly string[] => {
  if (allowedNameOf(text) !== undefined) return [...before, text];
  throw new InvalidArgumentError(NAMES);
};

/** Several names of pages. @throws InvalidArgumentError */
export const origins = (text: string, before: readonly string[] = []): readonly string[] => {
  if (isHostName(text)) return [...before, text];
  throw new InvalidArgumentError(`${NAMES} One of a page has no port: all of them may call.`);
};

const NAMES = 'Expected the name of a host as it stands in URLs: no scheme, no path, no wildcards.';

/** An address or the name of a host. @throws InvalidArgumentError */
export function host(text: string): string {
  if (/^[^\s/]+$/.test(text)) return text;
  throw new InvalidArgumentError('Expected an address or the name of a host.');
}

/** The URL of a gateway or server. @throws InvalidArgumentError */
export function httpUrl(text: string): string {
  if (/^https?:\/\//i.test(text) && URL.canParse(text)) return text;
  throw new InvalidArgumentError('Expected an http or https URL.');
}

/** The same, where a name and a password in it may be told by other means than the command line. @throws InvalidArgumentError, OptionError */
export const secretUrl = (option: string) => (text: string) => httpUrl(secretText(option, text));

/**
 * One more header, or those of a file or variable, one a line, by their names in lower case. Their values, which may be secrets, are
 * not told. @throws OptionError
 */
export function header(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const lines = isSource(text) ? linesOf(secretText('--header', text)) : [secretText('--header', text)];
  return Object.fromEntries([...Object.entries(before), ...lines.map(parseHeader)]);
}

function parseHeader(text: string): [string, string] {
  const [, name, rest = ''] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)$/s.exec(text) ?? [];
  const value = rest.trim();
  if (name !== undefined && /^[\t\x20-\x7e\x80-\xff]*$/.test(value)) return [name.toLowerCase(), value];
  const got = name === undefined ? 'a text without a name and a colon' : `${name}: …`;
  throw new OptionError('--header', got, "a header such as 'Name: value', on one line and in Latin letters");
}

/** JSON is read to any depth, and written to about 5,000. @throws Error */
export function sendable(value: unknown): unknown {
  try {
    JSON.stringify(value);
    return value;
  } catch (error) {
    throw new Error('it is nested too deep', { cause: error });
  }
}

function named(what: string): (text: string) => string {
  return (text) => {
    if (text.trim() !== '') return text;
    throw new InvalidArgumentError(`Expected the name of ${what}.`);
  };
}
