import { existsSync, readFileSync } from 'node:fs';

let version: string | undefined;

/** This package's version, as its package.json has it. */
export function packageVersion(): string {
  if (version !== undefined) return version;
  // Beside src/ or dist/; the benchmarks are built one folder deeper.
  const manifest = ['../../package.json', '../../../package.json']
    .map((path) => new URL(path, import.meta.url))
    .find((url) => existsSync(url));
  version =
    manifest === undefined ? '0.0.0' : (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
  return version;
}
