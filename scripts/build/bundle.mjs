// Joins the modules of .build/lib into the files of dist/: one for each subpath and program, and chunks for what several of them
// share. Loading hundreds of small files is most of what an import takes (docs/decisions/260-modules-are-joined.md). Nothing is
// renamed or compressed, comments stay, and each module begins with the name of its source.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';

/** Beside the subpaths: what is started as a process of its own, and the commands that are loaded one by one. */
const PROGRAMS = [
  'cli/main',
  'cli/program',
  'cli/serve',
  'cli/call',
  'cli/doctor/doctor',
  'cli/bench/bench',
  'testing/fake/child/main',
  'bench/reference/main',
  'bench/load/worker',
];

export async function bundle(root) {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const subpaths = Object.values(manifest.exports).flatMap((target) =>
    typeof target === 'string' ? [] : [target.default.replace(/^\.\/dist\/|\.js$/g, '')],
  );
  const input = Object.fromEntries(
    [...subpaths, ...PROGRAMS].map((name) => [name, join(root, '.build/lib', `${name}.js`)]),
  );
  const build = await rolldown({
    input,
    cwd: root,
    platform: 'node',
    external: (id) => !/^[./]|^[A-Za-z]:/.test(id),
    plugins: [
      { name: 'sources', renderChunk: (code) => code.replace(/^\/\/ \.build\/lib\/(.*)\.js$/gm, '// src/$1.ts') },
    ],
  });
  await build.write({
    dir: join(root, 'dist'),
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: 'chunks/[name].js',
    codeSplitting: { groups: [{ name: 'core', test: /\.build\/lib\/core\// }] },
  });
  await build.close();
}
