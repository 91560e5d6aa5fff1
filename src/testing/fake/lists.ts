import type { FakeCore } from './FakeCore.js';

/** A page of a list by its method; undefined when it is no list. Cursors are the number of the next entry. */
export function listPage(core: FakeCore, method: string, cursor: unknown): object | undefined {
  const list = listOf(core, method);
  if (list === undefined) return undefined;
  const [key, entries] = list;
  const from = typeof cursor === 'string' && /^\d+$/.test(cursor) ? Number(cursor) : 0;
  const until = from + core.settings.pageSize;
  return { [key]: entries.slice(from, until), ...(until < entries.length && { nextCursor: String(until) }) };
}

function listOf(core: FakeCore, method: string): readonly [string, readonly object[]] | undefined {
  const { resources, prompts } = core.settings;
  switch (method) {
    case 'tools/list':
      return [
        'tools',
        [...core.tools].map(([name, { description, inputSchema = { type: 'object' } }]) => ({
          name,
          ...(description !== undefined && { description }),
          inputSchema,
        })),
      ];
    case 'resources/list':
      return ['resources', Object.keys(resources).map((uri) => ({ uri, name: uri }))];
    case 'resources/templates/list':
      return ['resourceTemplates', []];
    case 'prompts/list':
      return ['prompts', Object.keys(prompts).map((name) => ({ name }))];
    default:
      return undefined;
  }
}
