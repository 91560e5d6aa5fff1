import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { createProgram } from '../../src/cli/program.js';
import { parseConfig } from '../../src/registry/index.js';
import { FaultPlan } from '../../src/testing/index.js';
import { blocksOf, blocksOfComments, type DocBlock, PAGES, readPage, writeBlocks } from '../support/docBlocks.js';
import { commandLines, unknownWords } from '../support/docCommands.js';

const ROOT = resolve(import.meta.dirname, '../..');
const blocks = [...PAGES.flatMap((page) => blocksOf(page)), ...blocksOfComments()];
const require = createRequire(import.meta.url);
const at = ({ file, line }: DocBlock): string => `${file}:${line}`;
const inLanguage = (...languages: string[]): DocBlock[] =>
  blocks.filter(({ language, note }) => languages.includes(language) && !note.startsWith('no-check'));

test('every block says what language it is in, and one that is not checked says why', () => {
  const known = ['ts', 'js', 'json', 'yaml', 'sh', 'text', 'mermaid', 'dockerfile'];
  expect(blocks.filter(({ language }) => !known.includes(language)).map(at)).toEqual([]);
  const unchecked = blocks.filter(({ note }) => note.startsWith('no-check'));
  expect(unchecked.filter(({ note }) => !/^no-check: \w+/.test(note)).map(at)).toEqual([]);
});

test('every block of code in the README, the guides and doc comments compiles against the package, strict', () => {
  const code = inLanguage('ts', 'js');
  expect(code.length).toBeGreaterThan(40);
  expect(code.filter(({ file }) => file.startsWith('src')).length).toBeGreaterThan(3);
  const folder = join(ROOT, '.build/doc-blocks');
  const wrong = { file: 'wrong', line: 7, language: 'ts', note: '', text: 'const text: string = 1;\n' };
  const written = writeBlocks(folder, [...code, wrong]);
  const tsc = join(require.resolve('typescript/package.json'), '../bin/tsc');
  const options = { cwd: folder, encoding: 'utf8' } as const;
  const { stdout, status } = spawnSync(process.execPath, [tsc, '-p', folder, '--pretty', 'false'], options);
  const faults = stdout.replace(/^([\w.]+)\((\d+),/gm, (all, name: string, line: string) => {
    const block = written.get(name);
    return block === undefined ? all : `${at(block)} (line ${line} of ${name}, column `;
  });
  expect(status).not.toBe(0);
  const [found, ...others] = faults
    .split('\n')
    .filter((line) => line !== '')
    .reverse();
  expect(others).toEqual([]);
  expect(found).toMatch(/^wrong:7 .* error TS2322/);
});

test('every command line names commands and flags that the program has', () => {
  const program = createProgram();
  const shell = inLanguage('sh').flatMap((block) =>
    commandLines(block.text).map((words) => ({ where: at(block), words })),
  );
  const inline = PAGES.flatMap((page) =>
    [...readPage(page).matchAll(/(?<!`)`((?:npx )?mcp-poolkit [^`]+)`/g)].flatMap(({ 1: line = '' }) =>
      commandLines(line).map((words) => ({ where: page, words })),
    ),
  );
  expect(shell.length).toBeGreaterThan(15);
  expect(inline.length).toBeGreaterThan(10);
  const faults = [...shell, ...inline].flatMap(({ where, words }) =>
    unknownWords(program, words).map((unknown) => `${where}: ${unknown}`),
  );
  expect(faults).toEqual([]);
  const wrong = commandLines(
    'npx mcp-poolkit serve --prot 1 && npx mcp-poolkit bench x -d 1s --vai y\nmcp-poolkit cal a b',
  );
  expect(wrong.flatMap((words) => unknownWords(program, words))).toEqual(['serve --prot', 'cal']);
});

test('every npm script and every file that a command line names is there', () => {
  const { scripts } = JSON.parse(readPage('package.json')) as { scripts: Record<string, string> };
  const text = inLanguage('sh')
    .map((block) => block.text)
    .join('\n');
  const named = [...text.matchAll(/\bnpm run (?:--silent )?([\w:-]+)/g)].map(([, name = '']) => name);
  expect(named.filter((name) => !(name in scripts))).toEqual([]);
  const files = [...text.matchAll(/\b((?:examples|scripts|deploy|docs)\/[\w./-]+\w)/g)].map(([, file = '']) => file);
  expect(files.length).toBeGreaterThan(5);
  expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
});

test('every block of JSON is what it is said to be: a config without problems, or a plan of faults', () => {
  const json = inLanguage('json');
  expect(json.length).toBeGreaterThan(5);
  for (const block of json) {
    const value = JSON.parse(block.text) as Record<string, unknown>;
    if ('mcpServers' in value) {
      const variables = Object.fromEntries(
        [...block.text.matchAll(/\$\{(\w+)\}/g)].map(([, name = '']) => [name, 'set']),
      );
      const { problems, warnings } = parseConfig(block.text, { file: at(block), variables });
      expect([problems.map(({ message }) => message), warnings], at(block)).toEqual([[], []]);
    } else if ('rules' in value) {
      expect(new FaultPlan(value), at(block)).toBeInstanceOf(FaultPlan);
    } else {
      expect(`${at(block)}: what is it?`).toBe('');
    }
  }
  for (const block of inLanguage('yaml')) expect(parse(block.text), at(block)).toBeTypeOf('object');
});

test('every link of a page to a file or a heading leads there', () => {
  const faults = PAGES.flatMap((page) =>
    [
      ...readPage(page)
        .replace(/^```[\s\S]*?^```$/gm, '')
        .matchAll(/\]\(([^)\s]+)\)/g),
    ].flatMap(({ 1: link = '' }) => {
      if (/^[a-z]+:/.test(link)) return [];
      const [path = '', anchor] = link.split('#');
      const file = path === '' ? page : join(page, '..', path);
      if (!existsSync(join(ROOT, file))) return [`${page}: ${link}`];
      const found = anchor === undefined || headingsOf(readPage(file)).includes(anchor);
      return found ? [] : [`${page}: ${link}: no such heading`];
    }),
  );
  expect(faults).toEqual([]);
});

/** As VitePress and GitHub name headings. */
function headingsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[`,.:;()!?'"/&…]/g, '')
      .trim()
      .replace(/\s+/g, '-'),
  );
}
