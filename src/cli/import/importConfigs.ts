import { existsSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { messageOf } from '../../core/errors.js';
import { editFile, placeOf } from '../../core/files/editFile.js';
import { MAX_FILE_BYTES, readNamed } from '../../core/files/readWhole.js';
import { parseTable } from '../../registry/config/configFile.js';
import { canonical } from '../../registry/config/fingerprint.js';
import { isObject, valueAt } from '../../registry/config/shapes/findServers.js';
import { readText } from '../../registry/config/shapes/readText.js';
import { workspaceOf } from '../../registry/config/shapes/references.js';
import { complain } from '../output/complain.js';
import { few } from '../output/few.js';
import { writeOut } from '../output/showResult.js';
import { type KnownConfig, knownConfigs } from './knownConfigs.js';

export interface ImportOptions {
  readonly out: string;
  readonly dryRun?: boolean;
}

interface Source extends KnownConfig {
  readonly text: string;
}

/** One server of one file, in the fields of `mcpServers`. */
interface Imported {
  readonly client: string;
  readonly entry: object;
}

/** What was found in one file. */
interface Read {
  /** For people. */
  readonly line: string;
  /** How many it has, those that are there already among them. */
  readonly servers: number;
  readonly problems: number;
}

/** Names of one file that are told. */
const MAX_NAMED = 1_000;

/** `mcp-poolkit import`: merges the servers of known clients, or of the files named, into one config. */
export async function importConfigs(files: readonly string[], { out, dryRun = false }: ImportOptions): Promise<void> {
  const named = files.map((file): KnownConfig => ({ client: 'file', file }));
  const known = named.length > 0 ? named : knownConfigs(process.cwd()).filter(({ file }) => existsSync(file));
  const others = known.filter(({ file }) => resolve(file) !== resolve(out));
  try {
    const found: Source[] = [];
    for (const each of others) {
      const source = { ...each, text: await readNamed(each.file) };
      if (holdsTable(source)) found.push(source);
    }
    if (found.length === 0)
      throw new Error(
        named.length > 0
          ? `nothing was imported: ${out} is the config to write, name others`
          : 'no config of a known client was found: name the files to import',
      );
    const { lines, problems } = dryRun ? await merge(found, out, true) : await editFile(out, () => merge(found, out));
    await writeOut(`${lines.join('\n')}\n`);
    // Each was told above; what is good has been imported all the same.
    if (problems > 0) process.exitCode = 1;
  } catch (error) {
    complain(messageOf(error));
    process.exitCode = 1;
  }
}

/** Puts what was found with what is there, which stays, under the names it has. */
async function merge(
  found: readonly Source[],
  out: string,
  dryRun = false,
): Promise<{ lines: string[]; problems: number }> {
  if (dryRun) await placeOf(out);
  const before = existsSync(out) ? [{ client: 'out', file: out, text: begun(await readNamed(out)) }] : [];
  const servers = new Map<string, Imported>();
  const read = [...before, ...found].map((each) => add(each, servers, out));
  if (read.slice(before.length).every(({ servers }) => servers === 0))
    throw new Error(`nothing was imported: no server was found in ${found.map(({ file }) => file).join(', ')}`);
  const added = [...servers.values()].filter(({ client }) => client !== 'out').length;
  if (added > 0) {
    const text = textOf(out, before[0]?.text ?? begun(''), servers);
    if (!dryRun) await writeFileAtomic(out, text, { mode: 0o600 });
  }
  const done = dryRun ? `${out} would have ${servers.size} servers` : `${out} has ${servers.size} servers`;
  return {
    lines: [...read.map(({ line }) => line), `${done}, ${added} of them new.`],
    problems: read.reduce((sum, { problems }) => sum + problems, 0),
  };
}

/** Adds a file's servers, and says what came of them. A server that is there under another name, or the same, is not added again. */
function add({ client, file, text, table = [] }: Source, servers: Map<string, Imported>, out: string): Read {
  const { entries, problems } = parseTable(
    text,
    { file },
    { table: table.length > 0 ? table : undefined, asWritten: true },
  );
  for (const { message } of problems) complain(message);
  if (client === 'out' && problems.length > 0) throw new Error(`${file} is not written: correct it first`);
  const have = new Set([...servers.values()].map(({ entry }) => canonical(entry)));
  const told = [...entries].map(([name, found]) => {
    const entry = placed(found as Readonly<Record<string, unknown>>, file);
    if (have.has(canonical(entry))) return `${name} (there already)`;
    if (client !== 'out' && isGatewayOf(out, entry, file))
      return `${name} (left out: it is the gateway of ${out} itself)`;
    const own = freeName(name, client, servers);
    servers.set(own, { client, entry });
    return own === name ? name : `${name} as ${own}`;
  });
  const place = table.length > 1 ? `${file}, ${table.slice(0, -1).join('.')}` : file;
  const line = `  ${place}: ${told.length === 0 ? 'no servers' : few(told, String, MAX_NAMED).join(', ')}`;
  return { line, servers: entries.size, problems: problems.length };
}

/** What a config follows on a command line. */
const FLAGS = ['--config', '-c'];

/** Whether an entry names a config, as `connect --start --config` does for clients: in there the gateway would be a client of itself. */
function isGatewayOf(config: string, { args }: Readonly<Record<string, unknown>>, file: string): boolean {
  const words = Array.isArray(args) ? args.map(String) : [];
  const named = words.map((each, at) =>
    FLAGS.includes(words[at - 1] ?? '') ? each : /^--config=(.+)$/s.exec(each)?.[1],
  );
  return named.some((each) => each !== undefined && resolve(dirname(resolve(file)), each) === resolve(config));
}

/** Whether a file has the table that is looked for in it. One that cannot be read is told of when it is added. */
function holdsTable({ file, text, table = [] }: Source): boolean {
  const read = readText(text, file);
  return !('root' in read) || valueAt(read.root, table) !== undefined;
}

/** Another server has the name: the client's is put behind it, then a number. */
function freeName(name: string, client: string, servers: ReadonlyMap<string, Imported>): string {
  if (!servers.has(name)) return name;
  for (let n = 1; ; n++) {
    const other = `${name}-${client}${n === 1 ? '' : `-${n}`}`;
    if (!servers.has(other)) return other;
  }
}

/** What counted from the file's place is spelled out: the entry is to stand in another folder. */
function placed(entry: Readonly<Record<string, unknown>>, file: string): Record<string, unknown> {
  const folder = dirname(resolve(file));
  const workspace = workspaceOf(folder);
  const text = JSON.stringify(entry).replace(/\$\{workspace(Folder|Root)\}/g, () =>
    JSON.stringify(workspace).slice(1, -1),
  );
  const moved = JSON.parse(text) as Record<string, unknown>;
  const { cwd } = moved;
  if (typeof cwd === 'string' && !isAbsolute(cwd) && !/^[~$]/.test(cwd)) moved['cwd'] = resolve(folder, cwd);
  return moved;
}

/** A config that has no table of servers yet has none. */
function begun(text: string): string {
  const own = text.replace(/^\uFEFF/, '').trim() || '{}';
  try {
    const root: unknown = JSON.parse(own);
    const bare = isObject(root) && Object.keys(root).every((field) => field === 'gateway' || field === '$schema');
    return bare ? JSON.stringify({ ...root, mcpServers: {} }) : own;
  } catch {
    return own;
  }
}

/** What is there and the servers. @throws Error when something would be lost, or none could read it */
function textOf(out: string, before: string, servers: ReadonlyMap<string, Imported>): string {
  const mcpServers = Object.fromEntries([...servers].map(([name, { entry }]) => [name, entry]));
  const root = rootOf(out, before);
  if (!Object.hasOwn(root, 'mcpServers')) {
    throw new Error(`${out} is not written: name its table of servers mcpServers first, a second one would hide it`);
  }
  const text = `${JSON.stringify({ ...root, mcpServers }, null, 2)}\n`;
  if (Buffer.byteLength(text) <= MAX_FILE_BYTES) return text;
  throw new Error(
    `${out} is not written: with ${servers.size} servers it would have more than ${MAX_FILE_BYTES} bytes, and could not be read`,
  );
}

function rootOf(out: string, text: string): object {
  try {
    return JSON.parse(text) as object;
  } catch (error) {
    throw new Error(`${out} is not written: its comments, or what else is no JSON, would be lost`, { cause: error });
  }
}
