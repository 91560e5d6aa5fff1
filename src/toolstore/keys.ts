import { createHash } from 'node:crypto';
import { checkText } from '../core/options.js';
import type { ServerRef } from './ToolStore.js';

/** What an entry is stored under. */
export interface Key {
  readonly kind: 'json' | 'tools' | 'era';
  /** The server's name, or the user's own key, or the fingerprint of a verdict. */
  readonly name: string;
  readonly fingerprint: string;
  readonly scope: string | undefined;
  /** The whole key as one string, unambiguous: what memory is looked up by, with nothing to hash. */
  readonly memo: string;
}

export const jsonMemo = (key: string): string => `j${key}`;

export function jsonKey(key: string): Key {
  return { kind: 'json', name: checkText('key', key), fingerprint: '', scope: undefined, memo: jsonMemo(key) };
}

export function eraKey(fingerprint: string): Key {
  const name = checkText('fingerprint', fingerprint);
  return { kind: 'era', name, fingerprint: '', scope: undefined, memo: `e${name}` };
}

export function toolsKey(server: ServerRef, scope: string | undefined): Key {
  const { name, fingerprint } = serverParts(server);
  return toolsKeyOf(name, fingerprint, scope === undefined ? undefined : checkText('scope', scope));
}

/** The key of what every scope may see, where this one's server says so. */
export const sharedKey = ({ name, fingerprint }: Key): Key => toolsKeyOf(name, fingerprint, undefined);

function toolsKeyOf(name: string, fingerprint: string, scope: string | undefined): Key {
  const memo = `t${name.length}:${fingerprint.length}:${name}${fingerprint}${scope === undefined ? '' : `:${scope}`}`;
  return { kind: 'tools', name, fingerprint, scope, memo };
}

export function serverParts(server: ServerRef): { readonly name: string; readonly fingerprint: string } {
  if (typeof server === 'string') return { name: checkText('server', server), fingerprint: '' };
  const fingerprint = server.fingerprint === undefined ? '' : checkText('server.fingerprint', server.fingerprint);
  return { name: checkText('server.name', server.name), fingerprint };
}

/**
 * The file of a key: a SHA-256 of all of it, so that any name, of any length, gets a file of its own inside the
 * directory. Tool lists begin with short hashes of server and fingerprint, so that a server's files are found by name.
 */
export function fileOf({ kind, name, fingerprint, scope }: Key): string {
  const whole = `${hash([kind, name, fingerprint, scope ?? null])}.json`;
  if (kind === 'tools') return `${serverPrefix(name)}${fingerprintPart(fingerprint)}-${whole}`;
  return `${kind === 'json' ? 'j' : 'e'}-${whole}`;
}

/** How the files of a server's lists begin: of all fingerprints, or of one. */
export function filesPrefix({ name, fingerprint }: { readonly name: string; readonly fingerprint: string }): string {
  return serverPrefix(name) + (fingerprint === '' ? '' : fingerprintPart(fingerprint));
}

const SERVER_PREFIX_LENGTH = 't-'.length + 16 + '-'.length;

/** The part of a tool list's file name that all lists of one server share; undefined for other files. */
export function serverPart(file: string): string | undefined {
  return file.startsWith('t-') ? file.slice(0, SERVER_PREFIX_LENGTH) : undefined;
}

const NAME = '(?:[je]|t-[0-9a-f]{16}-[0-9a-f]{16})-[0-9a-f]{64}\\.json';
const ENTRY = new RegExp(`^${NAME}$`);
const TEMP = new RegExp(`^${NAME}\\.[0-9a-f]{16}\\.tmp$`);
/** A stamp, a random part, and the name of the file it was. */
const QUARANTINED = new RegExp(`^[0-9a-z]{8,10}-[0-9a-f]{8}-${NAME}`);

/** The only names that a cache writes, and so the only ones that it moves or removes. */
export const isEntryFile = (file: string): boolean => ENTRY.test(file);
export const isQuarantined = (file: string): boolean => QUARANTINED.test(file);

export const TEMP_SUFFIX = '.tmp';

/** A file being written, or left behind by a writer that was killed. */
export const isTempFile = (file: string): boolean => TEMP.test(file);

const serverPrefix = (name: string): string => `t-${hash(name).slice(0, 16)}-`;
const fingerprintPart = (fingerprint: string): string => hash(fingerprint).slice(0, 16);

/** JSON keeps lone surrogates apart, where UTF-8 would make them all one character. */
function hash(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}
