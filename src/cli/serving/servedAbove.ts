import { createHash } from 'node:crypto';
import { realpathSync, statSync } from 'node:fs';
import { SERVED_VARIABLE } from '../../registry/process/environment.js';

/**
 * Notes, for all processes that come from this one, that the servers of a config are started here. @throws Error where that is so above
 * already: an entry of the config is the gateway itself, and each one would start the next without end
 */
export function markServed(file: string): void {
  const problem = servedAbove(file);
  if (problem !== undefined) throw new Error(problem);
  const id = idOf(file);
  if (id !== undefined) process.env[SERVED_VARIABLE] = [...above(), id].join(':');
}

/** Why this process may not start the servers of a config; undefined where it may. */
export function servedAbove(file: string): string | undefined {
  const id = idOf(file);
  if (id === undefined || !above().includes(id)) return undefined;
  return `${file} is served by the gateway that started this one: leave the gateway itself out of its config`;
}

const above = (): readonly string[] => process.env[SERVED_VARIABLE]?.split(':') ?? [];

/** Of a file alone: a pipe such as `<(…)` is another one each time. */
function idOf(file: string): string | undefined {
  try {
    if (!statSync(file).isFile()) return undefined;
    return createHash('sha256').update(realpathSync(file)).digest('hex').slice(0, 32);
  } catch {
    return undefined; // what reads it tells why
  }
}
