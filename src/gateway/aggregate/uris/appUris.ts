import type { ListItems } from '../../../pool/McpPool.js';
import type { Params } from '../../rpc/envelope.js';

/** A tool whose app has another URI (MCP Apps; the older name of the same; ChatGPT's); the very same where it has none. */
export function withApp(tool: ListItems['tools'], named: (uri: string) => string): ListItems['tools'] {
  const meta = tool._meta as Params | undefined;
  if (typeof meta !== 'object' || meta === null) return tool;
  const changes: Record<string, unknown> = {};
  for (const key of ['ui/resourceUri', 'openai/outputTemplate']) {
    const uri = meta[key];
    const shown = typeof uri === 'string' ? named(uri) : uri;
    if (shown !== uri) changes[key] = shown;
  }
  const ui = meta['ui'] as Params | null | undefined;
  if (typeof ui === 'object' && typeof ui?.['resourceUri'] === 'string') {
    const shown = named(ui['resourceUri']);
    if (shown !== ui['resourceUri']) changes['ui'] = { ...ui, resourceUri: shown };
  }
  return Object.keys(changes).length === 0 ? tool : { ...tool, _meta: { ...meta, ...changes } };
}
