import { Curator } from '../../gateway/curation/Curator.js';
import type { LoadedConfig } from '../configs.js';
import { few } from '../output/few.js';
import { plain } from '../output/plain.js';
import type { ServerReport } from './diagnose.js';
import { searchTokens } from './tokens.js';

export interface Findings {
  readonly config: LoadedConfig;
  readonly servers: readonly ServerReport[];
  readonly ok: boolean;
}

/** A name that several servers have. */
export interface Collision {
  readonly tool: string;
  readonly servers: readonly string[];
  /** What clients see of it, server by server. */
  readonly names: readonly string[];
}

export function asJson({ config, servers, ok }: Findings): string {
  const problems = config.problems.map(({ message, server, field, line }) => ({ message, server, field, line }));
  const found = servers.map(({ toolNames: _, ...server }) => server);
  const whole = {
    ok,
    file: config.file,
    servers: found,
    problems,
    warnings: config.warnings,
    collisions: collisionsOf(config, servers),
    tokens: tokensOf(servers),
  };
  return `${JSON.stringify(whole, null, 2)}\n`;
}

export function asText({ config, servers }: Findings): string {
  const width = servers.reduce((most, { name }) => Math.max(most, name.length), 0);
  const lines = servers.flatMap((server) => [
    `  ${server.verdict.padEnd(8)}${server.name.padEnd(width)}  ${summary(server)}`.trimEnd(),
    ...server.problems.map((problem) => `          ${problem}`),
    ...server.advice.map((each) => `          -> ${each}`),
    ...costs(server),
  ]);
  const notes = [
    ...config.problems.map(({ message }) => `  failed  ${message}`),
    ...config.warnings.map((each) => `  note    ${each}`),
    ...few(together(collisionsOf(config, servers)), sharedNames).map((each) => `  note    ${each}`),
  ];
  const { all, search } = tokensOf(servers);
  if (all > 0)
    notes.push(`  note    all tools cost a model about ${all} tokens, with "expose": "search" about ${search}`);
  return `${[config.file, ...lines, ...notes].map((line) => plain(line)).join('\n')}\n`;
}

function summary({ transport, protocolVersion, startMs, ...counts }: ServerReport): string {
  const parts = [transport];
  if (protocolVersion !== undefined) parts.push(`MCP ${protocolVersion}`);
  for (const kind of ['tools', 'prompts', 'resources'] as const) {
    if (counts[kind] !== undefined) parts.push(`${counts[kind]} ${kind}`);
  }
  if (startMs !== undefined) parts.push(`ready in ${startMs} ms`);
  return parts.join(', ');
}

function costs({ era, memoryBytes, tokens }: ServerReport): string[] {
  const parts = [
    era === undefined ? '' : `${era} era`,
    memoryBytes === undefined ? '' : `${Math.round(memoryBytes / 2 ** 20)} MB`,
    tokens === undefined ? '' : `about ${tokens} tokens of tools`,
  ].filter((each) => each !== '');
  return parts.length === 0 ? [] : [`          ${parts.join(', ')}`];
}

function collisionsOf({ curation }: LoadedConfig, servers: readonly ServerReport[]): Collision[] {
  const curator = new Curator(curation);
  const whose = new Map<string, string[]>();
  for (const { name, toolNames } of servers) {
    for (const tool of toolNames) whose.set(tool, [...(whose.get(tool) ?? []), name]);
  }
  return [...whose]
    .filter(([, of]) => of.length > 1)
    .map(([tool, of]) => ({ tool, servers: of, names: of.flatMap((server) => curator.toolName(server, tool) ?? []) }));
}

/** Those of the same servers, in one. */
const together = (collisions: readonly Collision[]): Iterable<Collision[]> => {
  const alike = new Map<string, Collision[]>();
  for (const each of collisions) {
    const key = JSON.stringify(each.servers);
    const known = alike.get(key);
    if (known === undefined) alike.set(key, [each]);
    else known.push(each);
  }
  return alike.values();
};

/** Names that a line spells out. */
const MAX_NAMES = 3;

function sharedNames(collisions: readonly Collision[]): string {
  const shown = collisions.slice(0, MAX_NAMES);
  const left = collisions.length - shown.length;
  const [tools, names] = [shown.map(({ tool }) => tool), shown.flatMap((each) => each.names)];
  if (left > 0) tools.push(`and ${left} more`);
  if (left > 0) names.push('and so on');
  const what = collisions.length === 1 ? 'a tool' : `${collisions.length} tools of the same names:`;
  return `${collisions[0]?.servers.join(', ')} all have ${what} ${tools.join(', ')}: clients see ${names.join(', ')}`;
}

/** What the tools of all cost, and what stands for them. */
function tokensOf(servers: readonly ServerReport[]): { readonly all: number; readonly search: number } {
  const all = servers.reduce((sum, { tokens = 0 }) => sum + tokens, 0);
  return { all, search: searchTokens(servers.filter(({ tokens }) => tokens !== undefined).map(({ name }) => name)) };
}
