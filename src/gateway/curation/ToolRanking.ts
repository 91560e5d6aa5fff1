import type { Tool } from '@modelcontextprotocol/client';
import { FairRoom } from '../../concurrent/FairRoom.js';
import { objectOf } from '../../connection/protocol/objectOf.js';
import { isNear } from '../../core/nearNames.js';
import { TurnBudget } from '../../core/time/turns.js';
import type { CallSignal } from '../../core/wait/Cancellation.js';
import { termsOf } from './termsOf.js';

/** Characters that are read of a tool's title, of its description, and of the names of its arguments. */
const MAX_READ = 1_000;
/** Words of a query; those behind are passed over. */
const MAX_TERMS = 16;
/** Letters of a word that may be misspelt. */
const MAX_MISSPELT = 40;
/** Words that one search compares with a misspelt one. */
const MAX_COMPARED = 200_000;

/** How much a word counts where it stands. */
const FIELDS = ['name', 'title', 'description', 'arguments'] as const;
const WEIGHTS = Object.freeze({ name: 4, title: 2, description: 1, arguments: 1 });
/** How much one counts that is there whole, that begins a word, that is nearly a word. */
const [WHOLE, BEGINS, NEARLY] = [1, 0.5, 0.3];

/** The words of a tool, each between two spaces. */
type ToolText = Readonly<Record<(typeof FIELDS)[number], string>>;

/** Makes the tools that are looked through. */
export type ToolList = () => readonly Tool[] | Promise<readonly Tool[]>;

/** How much each word of a query counts in each tool, in tenths, tool by tool; and how many tools have each word. */
interface Strengths {
  readonly byTool: Uint8Array;
  readonly having: readonly number[];
}

const TENTHS = 10;
/** Scores are told apart in so many steps. */
const LEVELS = 16_384;

/**
 * Which tools a query means: by its words in their names, titles, descriptions and arguments, rare words first. There is no index that a server could
 * fatten: the tools' first words are looked through, in time that grows with the list and no faster, a few milliseconds in each turn
 * of the event loop, one search at a time, the owners of searches in turns (docs/decisions/255-tools-are-looked-through.md).
 */
export class ToolRanking {
  readonly #texts = new WeakMap<Tool, ToolText>();
  readonly #turns = new TurnBudget();
  readonly #one = new FairRoom({ max: 1 });

  /** What is found, in the turn of its owner: for what waits for that, nothing is made. */
  inTurn<T>(owner: string, signal: CallSignal, find: () => T | Promise<T>): Promise<T> {
    return this.#one.run({ group: owner }, async () => {
      signal.throwIfAborted();
      return find();
    });
  }

  /** The tools that have to do with the query, the best first; equal ones in the order of the list. All where it is empty. */
  best(list: ToolList, query: string, signal: CallSignal, owner = ''): Promise<readonly Tool[]> {
    return this.inTurn(owner, signal, async () => {
      const tools = await list();
      if (query.trim() === '') return tools;
      const terms = [...new Set(termsOf(query))].slice(0, MAX_TERMS);
      return this.#bestFirst(tools, await this.#strengths(tools, terms, signal), signal);
    });
  }

  /** By levels of their scores, since to sort hundreds of thousands would be one long step. */
  async #bestFirst(
    tools: readonly Tool[],
    { byTool, having }: Strengths,
    signal: CallSignal,
  ): Promise<readonly Tool[]> {
    const weights = having.map((count) => Math.log(1 + tools.length / (1 + count)));
    const most = weights.reduce((sum, weight) => sum + weight * TENTHS * WEIGHTS.name, 0);
    const levels: Tool[][] = [];
    await this.#each(tools, signal, (tool, at) => {
      const first = at * having.length;
      const score = weights.reduce((sum, weight, term) => sum + weight * (byTool[first + term] as number), 0);
      if (score === 0) return;
      const level = Math.round((1 - score / most) * LEVELS);
      levels[level] ??= [];
      levels[level].push(tool);
    });
    const none: Tool[] = [];
    // `flat` takes a hundred times as long. Levels without a tool are not there.
    return none.concat(...Object.values(levels));
  }

  async #strengths(tools: readonly Tool[], terms: readonly string[], signal: CallSignal): Promise<Strengths> {
    const byTool = new Uint8Array(tools.length * terms.length);
    const having = terms.map(() => 0);
    const note = (tool: number, term: number, strength: number): void => {
      const place = tool * terms.length + term;
      if (byTool[place] === 0) having[term] = (having[term] as number) + 1;
      byTool[place] = Math.round(TENTHS * strength);
    };
    await this.#each(tools, signal, (tool, at) => {
      const text = this.#textOf(tool);
      for (const [index, term] of terms.entries()) {
        const strength = strengthIn(text, term);
        if (strength > 0) note(at, index, strength);
      }
    });
    const misspelt = [...terms.entries()].filter(
      ([at, term]) => having[at] === 0 && term.length > 4 && term.length <= MAX_MISSPELT,
    );
    if (misspelt.length === 0) return { byTool, having };
    let compared = 0;
    await this.#each(tools, signal, (tool, at) => {
      const text = this.#textOf(tool);
      for (const field of FIELDS) {
        if (compared >= MAX_COMPARED) return;
        for (const word of text[field].split(' ')) {
          compared += misspelt.length;
          for (const [index, term] of misspelt) {
            if (isNear(word, term, term.length > 8 ? 2 : 1)) note(at, index, NEARLY * WEIGHTS[field]);
          }
        }
      }
    });
    return { byTool, having };
  }

  /** In turns of the event loop, until no one waits for it. */
  async #each(tools: readonly Tool[], signal: CallSignal, visit: (tool: Tool, at: number) => void): Promise<void> {
    for (const [at, tool] of tools.entries()) {
      if (this.#turns.spent) await new Promise<void>((resolve) => this.#turns.inNextTurn(resolve));
      signal.throwIfAborted();
      const startMs = performance.now();
      visit(tool, at);
      this.#turns.spend(0, 0, startMs);
    }
  }

  #textOf(tool: Tool): ToolText {
    let text = this.#texts.get(tool);
    if (text === undefined) {
      const { name, title = '', description = '', inputSchema } = tool;
      const given = Object.keys(objectOf(inputSchema?.properties)).slice(0, MAX_READ).join(' ');
      text = { name: spaced(name), title: spaced(title), description: spaced(description), arguments: spaced(given) };
      this.#texts.set(tool, text);
    }
    return text;
  }
}

const spaced = (text: string): string => ` ${termsOf(String(text).slice(0, MAX_READ)).join(' ')} `;

function strengthIn(text: ToolText, term: string): number {
  let best = 0;
  for (const field of FIELDS) {
    const weight = WEIGHTS[field];
    if (best >= weight) continue;
    const words = text[field];
    if (words.includes(` ${term} `)) best = Math.max(best, WHOLE * weight);
    else if (term.length > 2 && words.includes(` ${term}`)) best = Math.max(best, BEGINS * weight);
  }
  return best;
}
