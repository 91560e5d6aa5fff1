// Joins the modules of .build/lib into the files of dist/: one for each subpath and program, and chunks for what several of them
// share. Loading hundreds of small files is most of what an import takes (docs/decisions/260-modules-are-joined.md). Nothing is
// renamed or compressed, comments stay, and each module begins with the name of its source.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { rolldown } from 'rolldown';

const FAKE = 'testing/fake/child/main';

/** Beside the subpaths: what is started as a process of its own, and the commands that are loaded one by one. */
const PROGRAMS = [
  'cli/main',
  'cli/program',
  'cli/serve',
  'cli/call',
  'cli/auth/oauthOf',
  'cli/doctor/doctor',
  'cli/bench/bench',
  'bench/reference/main',
  'bench/load/worker',
  FAKE,
];

/**
 * Packages of which only what is used is taken in: together they were a third of the import. Of zod's 95 files 64 are messages in other
 * languages; jsonc-parser is loaded as UMD. Their licences stand in dist/LICENSES.md.
 */
const INSIDE = ['jsonc-parser', 'zod'];

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
    // The ES modules of a package, where it has two kinds.
    resolve: { mainFields: ['module', 'main'] },
    external: (id) => !/^[./]|^[A-Za-z]:/.test(id) && !INSIDE.includes(id),
    plugins: [
      { name: 'sources', renderChunk: (code) => code.replace(/^\/\/ \.build\/lib\/(.*)\.js$/gm, '// src/$1.ts') },
    ],
  });
  await build.write({
    dir: join(root, 'dist'),
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: 'chunks/[name].js',
    // With the tables and bounds that parts of all kinds share.
    codeSplitting: {
      groups: [
        {
          name: 'core',
          test: /\.build\/lib\/(core\/|concurrent\/Share|connection\/.*\/(depth|parsingCost|InterimResponses|boundedClient)\.)/,
        },
      ],
    },
  });
  await build.close();
  // Tests start the fake server that stands beside modules of .build/lib: the joined one is up in two thirds of the time.
  const beside = `.build/lib/${FAKE}.js`;
  writeFileSync(join(root, beside), `import '${posix.relative(posix.dirname(beside), `dist/${FAKE}.js`)}';\n`);
  writeFileSync(join(root, 'dist/LICENSES.md'), licences(root));
}

function licences(root) {
  const texts = INSIDE.map((name) => {
    const folder = join(root, 'node_modules', name);
    const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
    return `## ${name} ${version}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`;
  });
  return `# Parts of other packages in these files\n\n${texts.join('\n')}`;
}
