import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from './files/packageFiles.js';

let version: string | undefined;

/** This package's version, as its package.json has it. */
export function packageVersion(): string {
  if (version !== undefined) return version;
  const root = packageRoot();
  version =
    root === undefined
      ? '0.0.0'
      : (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version;
  return version;
}
