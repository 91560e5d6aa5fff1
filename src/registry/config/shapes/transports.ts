import type { ServerConfig } from '../ServerConfig.js';
import type { WrittenReach } from '../targets/severalSchema.js';

/** Transports as programs call them, apart from case, `_`, `-` and blanks. */
const TRANSPORTS: ReadonlyMap<string, NonNullable<ServerConfig['transport']>> = new Map([
  ['stdio', 'stdio'],
  ['local', 'stdio'],
  ['http', 'http'],
  ['streamablehttp', 'http'],
  ['httpstream', 'http'],
  ['sse', 'sse'],
]);

const folded = (name: string): string => name.toLowerCase().replace(/[\s_-]/g, '');

/** What a name of a transport is in our words; undefined for one that is not known. */
export function transportOf(name: unknown): ServerConfig['transport'] {
  return typeof name === 'string' ? TRANSPORTS.get(folded(name)) : undefined;
}

/** Whether a name says no more than a URL does. */
export const isAnyUrl = (name: unknown): boolean => typeof name === 'string' && /^(remote|url)$/i.test(name);

/** A target whose transport is in our words, as far as it is known. */
export function plainTransport({ type, transport = type, ...target }: WrittenReach): object {
  const known = transportOf(transport);
  return { ...target, ...(known !== undefined && { transport: known }) };
}
