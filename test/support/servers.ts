import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import type { StdioServerConfig } from '../../src/registry/config/ServerConfig.js';

const require = createRequire(import.meta.url);
const root = resolve(import.meta.dirname, '../..');

const entry = (name: string): string => join(dirname(require.resolve(`${name}/package.json`)), 'dist/index.js');

export const FILESYSTEM = entry('@modelcontextprotocol/server-filesystem');
export const MEMORY = entry('@modelcontextprotocol/server-memory');

export const fixture = (name: string): string => join(root, 'test/fixtures', name);
export const examples = join(root, 'examples');

/** The real servers, as a pool takes them. */
export function filesystem(folder: string, name = 'filesystem'): StdioServerConfig {
  return { name, transport: 'stdio', command: process.execPath, args: [FILESYSTEM, folder] };
}

export function memory(file: string, name = 'memory'): StdioServerConfig {
  return { name, transport: 'stdio', command: process.execPath, args: [MEMORY], env: { MEMORY_FILE_PATH: file } };
}
