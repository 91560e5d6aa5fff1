import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NAME = 'mcp-poolkit';
let root: string | null | undefined;

/**
 * The folder of this package: the nearest above this module whose package.json names it. Modules stand at different depths in the
 * sources, in the package, whose modules are joined, and in the benchmarks. `undefined` in a program that has this package inside a bundle.
 */
export function packageRoot(): string | undefined {
  if (root !== undefined) return root ?? undefined;
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    const file = join(folder, 'package.json');
    if (existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { name?: unknown }).name === NAME) {
      root = folder;
      return folder;
    }
    if (folder === dirname(folder)) {
      root = null;
      return undefined;
    }
  }
}

/**
 * The path of a file that another process runs, or that is read: the one beside the module that asks (its `import.meta.url`), where modules
 * stand one by one; else the one in the package. @throws Error when the package is not there as it was installed
 */
export function builtFile(name: string, asker: string): string {
  const beside = fileURLToPath(new URL(name.slice(name.lastIndexOf('/') + 1), asker));
  if (existsSync(beside)) return beside;
  const folder = packageRoot();
  if (folder === undefined) throw new Error(`${NAME} is part of a bundle: ${name} of the package is not there`);
  return join(folder, 'dist', name);
}
