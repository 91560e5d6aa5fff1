import type { Tool } from '@modelcontextprotocol/client';
import { objectOf } from '../../connection/protocol/objectOf.js';
import { isNear } from '../../core/nearNames.js';
import { TurnBudget } from '../../core/time/turns.js';
import type { CallSignal } from '../../core/wait/Cancellation.js';
import { FairSemaphore } from '../../core/wait/FairSemaphore.js';
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

interface Hit {
  readonly tool: Tool;
  readonly strengths: readonly number[];
}

/**
 * Which tools a query means: by its words in their names, titles, descriptions and arguments, rare words first. There is no index that a server could
 * fatten: the tools' first words are looked through, in time that grows with the list and no faster, a few milliseconds in each turn
 * of the event loop, one search at a time, the owners of searches in turns (docs/decisions/255-tools-are-looked-through.md).
 */
export class ToolRanking {
  readonly #texts = new WeakMap<Tool, ToolText>();
  readonly #turns = new TurnBudget();
  readonly #one = new FairSemaphore<string>(1);

  /** What is found, in the turn of its owner: for what waits for that, nothing is made. */
  inTurn<T>(owner: string, signal: CallSignal, find: () => T | Promise<T>): Promise<T> {
    return this.#one.run(owner, async () => {
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
      const hits = await this.#hits(tools, terms, signal);
      const weights = terms.map((_, at) => {
        const having = hits.reduce((count, { strengths }) => count + ((strengths[at] as number) > 0 ? 1 : 0), 0);
        return Math.log(1 + tools.length / (1 + having));
      });
      const score = ({ strengths }: Hit): number =>
        strengths.reduce((sum, strength, at) => sum + strength * (weights[at] as number), 0);
      return hits
        .map((hit) => ({ tool: hit.tool, score: score(hit) }))
        .sort((a, b) => b.score - a.score)
        .map(({ tool }) => tool);
    });
  }

  async #hits(tools: readonly Tool[], terms: readonly string[], signal: CallSignal): Promise<Hit[]> {
    const byTool = new Map<Tool, number[]>();
    const found = terms.map(() => false);
    const note = (tool: Tool, at: number, strength: number): void => {
      const strengths = byTool.get(tool) ?? terms.map(() => 0);
      strengths[at] = strength;
      byTool.set(tool, strengths);
      found[at] = true;
    };
    await this.#each(tools, signal, (tool) => {
      const text = this.#textOf(tool);
      for (const [at, term] of terms.entries()) {
        const strength = strengthIn(text, term);
        if (strength > 0) note(tool, at, strength);
      }
    });
    const misspelt = [...terms.entries()].filter(
      ([at, term]) => found[at] === false && term.length > 4 && term.length <= MAX_MISSPELT,
    );
    if (misspelt.length === 0) return hitsOf(byTool);
    let compared = 0;
    await this.#each(tools, signal, (tool) => {
      const text = this.#textOf(tool);
      for (const field of FIELDS) {
        if (compared >= MAX_COMPARED) return;
        for (const word of text[field].split(' ')) {
          compared += misspelt.length;
          for (const [at, term] of misspelt) {
            if (isNear(word, term, term.length > 8 ? 2 : 1)) note(tool, at, NEARLY * WEIGHTS[field]);
          }
        }
      }
    });
    return hitsOf(byTool);
  }

  /** In turns of the event loop, until no one waits for it. */
  async #each(tools: readonly Tool[], signal: CallSignal, visit: (tool: Tool) => void): Promise<void> {
    for (const tool of tools) {
      if (this.#turns.spent) await new Promise<void>((resolve) => this.#turns.inNextTurn(resolve));
      signal.throwIfAborted();
      const startMs = performance.now();
      visit(tool);
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

const hitsOf = (byTool: ReadonlyMap<Tool, readonly number[]>): Hit[] =>
  [...byTool].map(([tool, strengths]) => ({ tool, strengths }));

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
