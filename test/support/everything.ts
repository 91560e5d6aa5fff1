import { mkdirSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import type { StdioServerConfig } from '../../src/registry/config/ServerConfig.js';
import { bundled } from './bundled.js';

const PACKAGE = dirname(createRequire(import.meta.url).resolve('@modelcontextprotocol/server-everything/package.json'));

/** The program of server-everything for one transport, joined: of all servers it is started most. */
export async function everythingFile(transport: 'stdio' | 'sse' | 'streamableHttp'): Promise<string> {
  const file = await bundled(`everything/${transport}.mjs`, join(PACKAGE, 'dist/transports', `${transport}.js`));
  // It serves the texts that are beside the folder of its file.
  const docs = resolve(file, '../../docs');
  mkdirSync(dirname(docs), { recursive: true });
  try {
    symlinkSync(join(PACKAGE, 'dist/docs'), docs);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return file;
}

export const EVERYTHING = await everythingFile('stdio');

/** As a pool takes it. */
export function everything(name = 'everything'): StdioServerConfig {
  return { name, transport: 'stdio', command: process.execPath, args: [EVERYTHING] };
}
