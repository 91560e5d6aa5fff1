import { show } from '../../../core/errors.js';
import { nearNames } from '../../../core/nearNames.js';
import type { Path } from './ConfigText.js';

/** One server as it stands in a file. */
export interface FoundEntry {
  readonly name: string;
  readonly entry: unknown;
  readonly path: Path;
}

/** The servers of a file, whichever program's shape it has. */
export interface FoundServers {
  readonly entries: readonly FoundEntry[];
  /** Where their table is, as errors name it. */
  readonly field: string;
  /** What the editor would ask for, by id (`inputs` of VS Code). */
  readonly inputs: unknown;
  /** Root fields that mean nothing here. */
  readonly unused: readonly string[];
  /** The table is that of opencode. */
  readonly opencode: boolean;
}

/** What is wrong with a file as a whole. */
export interface NoServers {
  readonly field: string | undefined;
  readonly why: string;
}

interface Shape {
  readonly path: readonly string[];
  /** The file has settings of its own besides: they are not told as unused. */
  readonly settings?: boolean;
  readonly used?: readonly string[];
}

/** In order: of two in one file the first counts. One that is new comes last, so that no file is read otherwise than before. */
const SHAPES: readonly Shape[] = [
  { path: ['mcpServers'] },
  { path: ['servers'], used: ['inputs'] },
  { path: ['mcp', 'servers'], settings: true },
  { path: ['context_servers'], settings: true },
  { path: ['mcp_servers'], settings: true },
  { path: ['amp.mcpServers'], settings: true },
  { path: ['mcp'], settings: true },
  { path: ['mcp.servers'], settings: true },
  { path: ['customizations', 'vscode', 'mcp', 'servers'], settings: true },
  { path: ['mcp', 'mcpServers'], settings: true },
];

/** Root fields beyond it are counted, not named. */
const MAX_NAMED = 8;

/** Finds the servers of a file in the shapes that MCP programs use; docs/config.md lists them. `table`: where they are, if that is known. */
export function findServers(root: unknown, table?: readonly string[]): FoundServers | NoServers {
  if (!isObject(root)) return { field: undefined, why: `expected an object with mcpServers, got ${show(root)}` };
  const known: readonly Shape[] = table === undefined ? SHAPES : [{ path: table, settings: true }];
  const at = table === undefined ? tableAt : valueAt;
  const shapes = known.filter(({ path }) => at(root, path) !== undefined);
  const shape = shapes.find(({ path }) => isObject(at(root, path))) ?? shapes[0];
  if (shape === undefined) return missing(root);
  const { path, settings = false, used = [] } = shape;
  const field = path.join('.');
  const found = at(root, path);
  if (!isObject(found)) return { field, why: `expected an object of servers by name, got ${show(found)}` };
  const entries = Object.entries(found).map(([name, entry]) => ({ name, entry, path: [...path, name] }));
  const [own] = path;
  const others = shapes.filter((each) => each !== shape && each.path[0] !== own).map((each) => each.path.join('.'));
  const rest = Object.keys(root).filter(
    (key) => key !== own && key !== '$schema' && key !== 'gateway' && !used.includes(key),
  );
  const inputs = own === 'mcp' ? (root['mcp'] as Record<string, unknown>)['inputs'] : root['inputs'];
  return {
    entries,
    field,
    inputs: settings || used.length > 0 ? inputs : undefined,
    unused: settings ? others : few(rest),
    opencode: field === 'mcp',
  };
}

function few(fields: readonly string[]): readonly string[] {
  if (fields.length <= MAX_NAMED) return fields;
  return [...fields.slice(0, MAX_NAMED), `${fields.length - MAX_NAMED} others`];
}

/** A file without a table of servers: what stands there instead is often one step away. */
function missing(root: Readonly<Record<string, unknown>>): NoServers {
  const why = 'expected an object of servers by name, it is missing';
  const field = 'mcpServers';
  const [near] = nearNames('mcpServers', Object.keys(root));
  if (near !== undefined) return { field, why: `${why}: is ${show(near)} meant?` };
  const bare = Object.entries(root).filter(([, each]) => isEntry(each));
  if (isEntry(root))
    return { field, why: `${why}: this is one server; write { "mcpServers": { "<name>": … } } around it` };
  if (bare.length > 0) return { field, why: `${why}: write { "mcpServers": … } around what is there` };
  const deep = firstEntry(root);
  if (deep === undefined) return { field, why };
  const found = `what looks like a server stands at ${deep.join('.')}`;
  return { field, why: `${why}: ${found}; write { "mcpServers": { "<name>": … } } around it, at the root` };
}

/** Levels, and values of each, that are looked through for a server. */
const MAX_DEPTH = 6;
const MAX_LOOKED_AT = 1_000;

/** Where the first server stands that no shape leads to. */
function firstEntry(root: unknown): readonly string[] | undefined {
  let level: readonly { readonly path: readonly string[]; readonly value: unknown }[] = [{ path: [], value: root }];
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    level = level
      .flatMap(({ path, value }) => (isObject(value) || Array.isArray(value) ? inside(value, path) : []))
      .slice(0, MAX_LOOKED_AT);
    const found = level.find(({ value }) => isEntry(value));
    if (found !== undefined) return found.path;
  }
  return undefined;
}

/** The first of them: a list may hold millions. */
function inside(value: object, path: readonly string[]) {
  const members = Object.entries(Array.isArray(value) ? value.slice(0, MAX_LOOKED_AT) : value).slice(0, MAX_LOOKED_AT);
  return members.map(([key, each]) => ({ path: [...path, key], value: each as unknown }));
}

/** What stands at a path of a file. */
export function valueAt(root: unknown, path: readonly string[]): unknown {
  return path.reduce((from, key) => (isObject(from) && Object.hasOwn(from, key) ? from[key] : undefined), root);
}

/** `mcp` of other programs may be anything: only what holds servers is taken for a table. */
function tableAt(root: unknown, path: readonly string[]): unknown {
  const value = valueAt(root, path);
  if (path.join('.') !== 'mcp') return value;
  return isObject(value) && Object.values(value).some(isEntry) ? value : undefined;
}

const isEntry = (value: unknown): boolean =>
  isObject(value) && ['command', 'url', 'targets'].some((field) => field in value);

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
