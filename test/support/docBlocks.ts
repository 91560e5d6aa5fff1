import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');

/** A fenced block of a page, or of a doc comment. */
export interface DocBlock {
  readonly file: string;
  readonly line: number;
  readonly language: string;
  /** What the fence says after the language: `no-check: …` leaves the block out, for the reason given. */
  readonly note: string;
  readonly text: string;
}

export const PAGES: readonly string[] = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md') && !file.startsWith('decisions'))
    .map((file) => join('docs', file))
    .sort(),
];

export const readPage = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

export function blocksOf(file: string, text = readPage(file)): DocBlock[] {
  return [...text.matchAll(/^```(\w*) ?(.*)\n([\s\S]*?)^```$/gm)].map(
    ({ index, 1: language = '', 2: note = '', 3: body = '' }) => ({
      file,
      line: text.slice(0, index).split('\n').length + 1,
      language,
      note,
      text: body,
    }),
  );
}

/** The fenced blocks of doc comments, without the stars. */
export function blocksOfComments(folder = 'src'): DocBlock[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => {
      const text = readPage(join(folder, file));
      if (!text.includes('* ```')) return [];
      return blocksOf(join(folder, file), text.replace(/^ *\* ?/gm, ''));
    });
}

/** What a page's blocks may use without declaring it, in a comment of the page: `<!-- blocks use\n…\n-->`. */
const PRELUDE = /<!-- blocks use\n([\s\S]*?)-->/;

/** A page whose blocks are one program, in order. */
const ONE_PROGRAM = '<!-- the blocks are one program -->';

const IMPORT = /^import [\s\S]*?;\n/gm;

/** One module for a block: its imports, what the page gives it, and the rest in a function, so that its names are its own. */
function moduleOf(text: string, prelude: string): string {
  const imports = (text.match(IMPORT) ?? []).join('');
  const body = text.replace(IMPORT, (found) => found.replace(/[^\n]+/g, '')).replace(/^export /gm, '');
  return `${prelude}${imports}export async function block() {\n${body}\n}\n`;
}

/** Writes each block of code as a module below `folder`, and gives back which block each is. */
export function writeBlocks(folder: string, blocks: readonly DocBlock[]): ReadonlyMap<string, DocBlock> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const written = new Map<string, DocBlock>();
  for (const file of new Set(blocks.map((block) => block.file))) {
    const own = blocks.filter((block) => block.file === file);
    const page = file.endsWith('.md') ? readPage(file) : '';
    const prelude = PRELUDE.exec(page)?.[1] ?? '';
    const [first] = own;
    const programs =
      first !== undefined && page.includes(ONE_PROGRAM)
        ? [{ ...first, text: own.map(({ text }) => text).join('') }]
        : own;
    for (const block of programs) {
      const name = `${file.replace(/\W/g, '_')}_${block.line}.${block.language}`;
      writeFileSync(join(folder, name), moduleOf(block.text, block.language === 'ts' ? prelude : ''));
      written.set(name, block);
    }
  }
  const compilerOptions = {
    target: 'es2022',
    module: 'nodenext',
    lib: ['es2023', 'esnext.disposable'],
    types: ['node'],
    strict: true,
    allowJs: true,
    checkJs: true,
    skipLibCheck: true,
    noEmit: true,
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*'] }));
  return written;
}
