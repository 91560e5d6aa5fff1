import type { Message } from '../../../support/httpClient.js';
import type { RealServer } from './SERVERS.js';

/** Asks a server, in whichever way. */
export type Ask = (method: string, params: object) => Promise<Message>;

/** All that is compared, by name: results, or errors with code, message and data. */
export type Seen = Readonly<Record<string, unknown>>;

export const INITIALIZE = {
  protocolVersion: '2025-11-25',
  capabilities: {},
  clientInfo: { name: 'fidelity', version: '1' },
};

const MAX_PAGES = 100;

/** Everything a client can list of a server, and a call of each kind. `initialized`: the result of `initialize`. */
export async function observe(server: RealServer, initialized: Message, ask: Ask): Promise<Seen> {
  const seen: Record<string, unknown> = { initialize: outcome(initialized) };
  const { capabilities = {} } = (initialized.result ?? {}) as { capabilities?: Record<string, unknown> };
  const list = async (kind: string, method: string): Promise<Record<string, unknown>[]> => {
    const pages: unknown[] = [];
    let cursor: unknown;
    do {
      const page = await ask(method, cursor === undefined ? {} : { cursor });
      pages.push(outcome(page));
      cursor = page.result?.['nextCursor'];
    } while (cursor !== undefined && pages.length < MAX_PAGES);
    seen[method] = pages;
    return pages.flatMap((page) => ((page as Record<string, unknown>)[kind] ?? []) as Record<string, unknown>[]);
  };
  await list('tools', 'tools/list');
  if ('resources' in capabilities) {
    const resources = await list('resources', 'resources/list');
    await list('resourceTemplates', 'resources/templates/list');
    for (const { uri } of resources.slice(0, 5)) {
      seen[`resources/read ${String(uri)}`] = outcome(await ask('resources/read', { uri }));
    }
  }
  if ('prompts' in capabilities) {
    const prompts = await list('prompts', 'prompts/list');
    for (const { name } of prompts.slice(0, 5))
      seen[`prompts/get ${String(name)}`] = outcome(await ask('prompts/get', { name }));
  }
  const [name, args] = server.call;
  seen[`tools/call ${name}`] = outcome(await ask('tools/call', { name, arguments: args }));
  seen['tools/call of a tool that is not there'] = outcome(
    await ask('tools/call', { name: 'no_such_tool', arguments: {} }),
  );
  if ('logging' in capabilities) seen['logging/setLevel'] = outcome(await ask('logging/setLevel', { level: 'error' }));
  seen['ping'] = outcome(await ask('ping', {}));
  seen['a method that is not there'] = outcome(await ask('no/such/method', {}));
  return seen;
}

const outcome = ({ result, error }: Message): unknown => result ?? { error };

/** How many values there are in it that are compared. */
export const fieldsIn = (value: unknown): number =>
  typeof value === 'object' && value !== null
    ? Object.values(value).reduce<number>((total, each) => total + fieldsIn(each), 0)
    : 1;
