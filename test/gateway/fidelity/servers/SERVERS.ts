import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A server of npm that starts without a network, and one call of it. */
export interface RealServer {
  readonly name: string;
  readonly version: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly call: readonly [tool: string, args: object];
}

export const FOLDER = process.env['FIDELITY_DIR'] ?? join(tmpdir(), 'mcp-poolkit-servers');
const SCRATCH = join(FOLDER, 'scratch');
const FILE = join(SCRATCH, 'hello.js');

/** Keys are made up: what needs the network fails, and has to fail the same. */
export const SERVERS: readonly RealServer[] = [
  { name: '@modelcontextprotocol/server-everything', version: '2026.8.31', call: ['get-sum', { a: 2, b: 40 }] },
  {
    name: '@modelcontextprotocol/server-filesystem',
    version: '2026.8.31',
    args: [SCRATCH],
    call: ['read_text_file', { path: FILE }],
  },
  {
    name: '@modelcontextprotocol/server-memory',
    version: '2026.8.31',
    env: { MEMORY_FILE_PATH: join(SCRATCH, 'memory.json') },
    call: ['read_graph', {}],
  },
  {
    name: '@modelcontextprotocol/server-sequential-thinking',
    version: '2026.8.31',
    call: ['sequentialthinking', { thought: 'one', nextThoughtNeeded: false, thoughtNumber: 1, totalThoughts: 1 }],
  },
  { name: '@upstash/context7-mcp', version: '4.1.1', call: ['resolve-library-id', { query: 'x', libraryName: 'y' }] },
  { name: '@playwright/mcp', version: '0.0.83', args: ['--headless'], call: ['browser_resize', { width: 'wide' }] },
  { name: '@antv/mcp-server-chart', version: '0.9.10', call: ['generate_bar_chart', { data: 'none' }] },
  { name: '@knip/mcp', version: '0.0.36', call: ['knip-docs', { topic: 'reference/configuration' }] },
  {
    name: '@notionhq/notion-mcp-server',
    version: '2.5.2',
    env: { OPENAPI_MCP_HEADERS: '{"Authorization":"none"}' },
    call: ['API-get-self', {}],
  },
  {
    name: '@itseasy21/mcp-knowledge-graph',
    version: '1.0.7',
    args: ['--memory-path', join(SCRATCH, 'graph.jsonl')],
    call: ['read_graph', {}],
  },
  {
    name: '@allpepper/memory-bank-mcp',
    version: '0.2.2',
    env: { MEMORY_BANK_ROOT: SCRATCH },
    call: ['list_projects', {}],
  },
  {
    name: '@kazuph/mcp-taskmanager',
    version: '1.1.1',
    env: { TASK_MANAGER_FILE_PATH: join(SCRATCH, 'tasks.json') },
    call: ['list_requests', {}],
  },
  { name: '@eslint/mcp', version: '0.3.13', call: ['lint-files', { filePaths: [FILE] }] },
  {
    name: '@brave/brave-search-mcp-server',
    version: '2.1.4',
    args: ['--transport', 'stdio'],
    env: { BRAVE_API_KEY: 'none' },
    call: ['brave_web_search', { query: 7 }],
  },
  {
    name: '@mapbox/mcp-devkit-server',
    version: '0.8.2',
    env: { MAPBOX_ACCESS_TOKEN: 'pk.eyJ1IjoieCJ9.x' },
    call: ['validate_geojson_tool', { geojson: '{"type":"Point","coordinates":[1,2]}' }],
  },
];

export interface Started {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

const folderOf = ({ name }: RealServer): string => join(FOLDER, name.replaceAll(/[@/]/g, '_'));
const packageOf = (server: RealServer): string => join(folderOf(server), 'node_modules', server.name);

/** Gets the packages that are not there, each into a folder of its own; nothing of theirs is run. */
export function install(server: RealServer): void {
  mkdirSync(SCRATCH, { recursive: true });
  writeFileSync(FILE, 'export const hello = "Hello";\n');
  if (existsSync(join(packageOf(server), 'package.json'))) return;
  const what = `${server.name}@${server.version}`;
  const flags = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', folderOf(server)];
  execFileSync('npm', ['install', ...flags, what], { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** How a server that was installed is started. */
export function startOf(server: RealServer): Started {
  const { bin } = JSON.parse(readFileSync(join(packageOf(server), 'package.json'), 'utf8')) as { bin: string | object };
  const [entry] = typeof bin === 'string' ? [bin] : (Object.values(bin) as string[]);
  const args = [join(packageOf(server), entry ?? ''), ...(server.args ?? [])];
  return { command: process.execPath, args, env: server.env ?? {} };
}
