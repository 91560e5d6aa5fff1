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
  root ??= above(import.meta.dirname) ?? null;
  return root ?? undefined;
}

/** A bundle in CommonJS knows no folder of its own. */
function above(start: string | undefined): string | undefined {
  for (let folder = start ?? '/'; ; folder = dirname(folder)) {
    if (nameIn(join(folder, 'package.json')) === NAME) return folder;
    if (folder === dirname(folder)) return undefined;
  }
}

/** Those of other programs, which stand above a bundle, may be anything. */
function nameIn(file: string): unknown {
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { name?: unknown } | null)?.name;
  } catch {
    return undefined;
  }
}

/**
 * The path of a file that another process runs, or that is read: the one beside the module that asks (its `import.meta.url`), where modules
 * stand one by one; else the one in the package. @throws Error when the package is not there as it was installed
 */
export function builtFile(name: string, asker: string | undefined): string {
  const beside = asker && fileURLToPath(new URL(name.slice(name.lastIndexOf('/') + 1), asker));
  if (beside !== undefined && existsSync(beside)) return beside;
  const folder = packageRoot();
  if (folder === undefined) throw new Error(`${NAME} is part of a bundle: ${name} of the package is not there`);
  return join(folder, 'dist', name);
}
