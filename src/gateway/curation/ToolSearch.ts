import type { Tool } from '@modelcontextprotocol/client';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { show } from '../../core/errors.js';
import { inTurnOrNow } from '../../core/time/turns.js';
import type { CallSignal } from '../../core/wait/Cancellation.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import { Refusal } from '../rpc/failure.js';
import { type ToolList, ToolRanking } from './ToolRanking.js';

/** The tools that stand for all others. */
export const SEARCH_TOOLS = Object.freeze(['search_tools', 'describe_tool', 'call_tool'] as const);

export type SearchTool = (typeof SEARCH_TOOLS)[number];

export const isSearchTool = (name: unknown): name is SearchTool => (SEARCH_TOOLS as readonly unknown[]).includes(name);

const DEFAULT_LIMIT = 10;
const MAX_LIMIT = 50;
const MAX_QUERY = 1_000;
/** Of a description in a list of hits. */
const MAX_SUMMARY = 240;
/** Read of it for that: most of it may be space. */
const MAX_READ = 4 * MAX_SUMMARY;

const text = (description: string) => ({ type: 'string' as const, description });
const nameOf = text('The name, as search_tools told it.');

/** Three tools in place of hundreds: a model finds what it needs and reads the schema of that alone. */
export function searchTools(servers: readonly string[]): Tool[] {
  const from = servers.length === 0 ? '' : ` They come from: ${servers.join(', ')}.`;
  const annotations = { readOnlyHint: true, openWorldHint: false };
  return [
    {
      name: 'search_tools',
      description: `Finds tools by what they do. Start here: all tools but three are behind it.${from}`,
      inputSchema: {
        type: 'object',
        properties: {
          query: text('A few words, such as "read file". Without it all tools are listed.'),
          limit: {
            type: 'integer',
            minimum: 1,
            maximum: MAX_LIMIT,
            description: `At most so many; ${DEFAULT_LIMIT} if left out.`,
          },
          offset: { type: 'integer', minimum: 0, description: 'Skips so many.' },
        },
      },
      annotations,
    },
    {
      name: 'describe_tool',
      description: 'Tells what arguments a tool takes. Read it before the first call of a tool.',
      inputSchema: { type: 'object', properties: { name: nameOf }, required: ['name'] },
      annotations,
    },
    {
      name: 'call_tool',
      description: 'Calls a tool and gives its result.',
      inputSchema: {
        type: 'object',
        properties: { name: nameOf, arguments: { type: 'object', description: 'As describe_tool told.' } },
        required: ['name'],
      },
    },
  ];
}

interface Hit {
  readonly name: string;
  readonly description?: string;
}

/** Answers `search_tools`, whatever servers have written into their lists: one search after the other, in turns of the event loop; owners take turns. */
export class ToolSearch {
  readonly #ranking = new ToolRanking();

  /** Answers of `describe_tool`, each for as long as it is on its way to someone: a tool may be megabytes. */
  readonly #described = { legacy: new WeakMap<Tool, WeakRef<Buffer>>(), modern: new WeakMap<Tool, WeakRef<Buffer>>() };

  /** Answers `describe_tool`, as JSON, in its turn, too: those who ask for the same tool at a time share the bytes. @throws Refusal */
  describe(
    find: (name: unknown) => Promise<Tool | undefined>,
    name: unknown,
    era: Era,
    signal: CallSignal,
    owner = '',
  ): Promise<Buffer> {
    return this.#ranking.inTurn(owner, signal, async () => {
      const tool = await find(name);
      if (tool === undefined) throw new Refusal(RPC_CODES.invalidParams, `unknown tool: ${nameText(name)}`);
      return this.#described[era].get(tool)?.deref() ?? inTurnOrNow(() => this.#write(tool, era));
    });
  }

  #write(tool: Tool, era: Era): Buffer {
    const content = [{ type: 'text', text: JSON.stringify(tool) }];
    const bytes = Buffer.from(JSON.stringify({ ...(era === 'modern' && { resultType: 'complete' }), content }));
    this.#described[era].set(tool, new WeakRef(bytes));
    return bytes;
  }

  /** @throws Refusal */
  async search(
    tools: ToolList,
    args: Readonly<Record<string, unknown>>,
    signal: CallSignal,
    owner = '',
  ): Promise<Readonly<Record<string, unknown>>> {
    const { query = '', limit = DEFAULT_LIMIT, offset = 0 } = args;
    if (typeof query !== 'string' || query.length > MAX_QUERY) {
      throw new Refusal(RPC_CODES.invalidParams, `query is a string of ${MAX_QUERY} characters or fewer`);
    }
    if (!isCount(limit, 1, MAX_LIMIT))
      throw new Refusal(RPC_CODES.invalidParams, `limit is a whole number from 1 to ${MAX_LIMIT}`);
    if (!isCount(offset, 0, Number.MAX_SAFE_INTEGER))
      throw new Refusal(RPC_CODES.invalidParams, 'offset is a whole number, 0 or more');
    const found = await this.#ranking.best(tools, query, signal, owner);
    const hits: Hit[] = found.slice(offset, offset + limit).map(({ name, description }) => {
      const summary = description === undefined ? undefined : summaryOf(description);
      return { name, ...(summary === undefined ? {} : { description: summary }) };
    });
    return { content: [{ type: 'text', text: JSON.stringify({ tools: hits, total: found.length }) }] };
  }
}

function summaryOf(description: string): string {
  const line = description.slice(0, MAX_READ).trim().replace(/\s+/g, ' ');
  return line.length <= MAX_SUMMARY ? line : `${line.slice(0, MAX_SUMMARY - 1)}…`;
}

/** A name as a client gave it, which may be anything. */
export const nameText = (name: unknown): string => (typeof name === 'string' ? name.slice(0, 200) : show(name));

const isCount = (value: unknown, min: number, max: number): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max;
