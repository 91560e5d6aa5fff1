import type { ServerCapabilities } from '@modelcontextprotocol/client';
import type { Params } from '../../../connection/protocol/messages.js';
import { OptionError } from '../../../core/errors.js';
import type { Names } from '../../../core/options.js';
import type { SubscriptionFilter } from '../../McpPool.js';

/** That a resource has changed. */
export const UPDATED = 'notifications/resources/updated';

/** What a filter may name, the notification that it asks for, and the capability of a server that has it. */
const KINDS = [
  ['toolsListChanged', 'notifications/tools/list_changed', 'tools.listChanged'],
  ['promptsListChanged', 'notifications/prompts/list_changed', 'prompts.listChanged'],
  ['resourcesListChanged', 'notifications/resources/list_changed', 'resources.listChanged'],
  ['resourceUris', UPDATED, 'resources.subscribe'],
] as const;

type Kind = (typeof KINDS)[number][0];

export const FILTER_NAMES: Names<SubscriptionFilter> = {
  resourceUris: true,
  toolsListChanged: true,
  promptsListChanged: true,
  resourcesListChanged: true,
};

/** The list changes that a subscriber with this filter hears of. */
export function methodsOf(filter: SubscriptionFilter): string[] {
  return KINDS.filter(([kind]) => kind !== 'resourceUris' && filter[kind] === true).map(([, method]) => method);
}

/** @throws OptionError when the server offers none of the capabilities that a filter needs */
export function checkOffered(server: string, filter: SubscriptionFilter, capabilities: ServerCapabilities): void {
  const wanted = KINDS.filter(([kind]) => isWanted(filter, kind));
  const offers = (capability: string): boolean => {
    const [area = '', flag = ''] = capability.split('.');
    const declared = (capabilities as Readonly<Record<string, unknown>>)[area];
    return (declared as Readonly<Record<string, unknown>> | undefined)?.[flag] === true;
  };
  if (wanted.length === 0 || wanted.some(([, , capability]) => offers(capability))) return;
  const missing = wanted.map(([, , capability]) => capability).join(', ');
  throw new OptionError('filter', filter, `what server '${server}' offers: it declares none of ${missing}`);
}

function isWanted(filter: SubscriptionFilter, kind: Kind): boolean {
  return kind === 'resourceUris' ? (filter.resourceUris ?? []).length > 0 : filter[kind] === true;
}

/** What a server tells of what it was asked for: what it said so itself, or, in the legacy era, what its capabilities say. */
export function agreedFilter(
  filter: SubscriptionFilter,
  told: Params | undefined,
  { tools, prompts, resources }: ServerCapabilities,
): SubscriptionFilter {
  if (told !== undefined) {
    const { resourceSubscriptions: resourceUris, ...rest } = told;
    return (resourceUris === undefined ? rest : { ...rest, resourceUris }) as SubscriptionFilter;
  }
  return {
    ...(filter.toolsListChanged && tools?.listChanged && { toolsListChanged: true }),
    ...(filter.promptsListChanged && prompts?.listChanged && { promptsListChanged: true }),
    ...(filter.resourcesListChanged && resources?.listChanged && { resourcesListChanged: true }),
    ...(filter.resourceUris && { resourceUris: filter.resourceUris }),
  };
}
