import { createHash } from 'node:crypto';
import { checkOptions } from '../../core/options.js';
import type { ServerConfig, StdioTarget } from './ServerConfig.js';

/**
 * A stable hash of everything that decides how a server runs: program or URL, arguments, environment (what is
 * inherited by name, too), headers, era, sharing, limits. Not its name. The order of keys does not matter, nor whether a default is written out. Secrets go
 * into the hash and cannot be read back, so it may stand in logs, keys and file names: 32 hexadecimal digits.
 */
export function fingerprint(config: ServerConfig): string {
  const { name: _, enabled, ...rest } = checkOptions('config', config, 'the config of a server');
  const decides: Record<string, unknown> = { ...rest, enabled: enabled ?? true };
  if ('targets' in rest) {
    decides['balance'] = rest.balance ?? 'p2c-ewma';
    decides['inherited'] = rest.targets.map((target) => ('inheritEnv' in target ? inherited(target) : []));
  } else if (rest.transport === 'stdio') {
    decides['args'] = rest.args ?? [];
    decides['env'] = rest.env ?? {};
    decides['inheritEnv'] = inherited(rest);
  } else {
    const headers = Object.entries(rest.headers ?? {}).map(([header, value]) => [header.toLowerCase(), value] as const);
    decides['headers'] = Object.fromEntries(headers);
  }
  return createHash('sha256').update(canonical(decides)).digest('hex').slice(0, 32);
}

/** By name and value: another account may stand in them. */
const inherited = ({ inheritEnv = [] }: Pick<StdioTarget, 'inheritEnv'>): readonly unknown[] =>
  [...new Set(inheritEnv)].sort().map((name) => [name, process.env[name] ?? null]);

/** One text for one value: keys sorted, undefined left out, strings quoted, so that no two values share a text. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).filter(([, each]) => each !== undefined);
    entries.sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([key, each]) => `${JSON.stringify(key)}:${canonical(each)}`).join(',')}}`;
  }
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}
