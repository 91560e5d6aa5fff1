// Builds the site from docs/ into site/.build/site. What is made from the code (reference, program, schema) is made here,
// from dist/ and src/; the pages of docs/ are copied, with their links to files of the repository made absolute.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const site = fileURLToPath(new URL('.', import.meta.url));
const root = join(site, '..');
const pages = join(site, '.build/pages');
const REPOSITORY = 'https://github.com/mcp-poolkit/mcp-poolkit/blob/main/';

function run(command, args, cwd = site) {
  const { status } = spawnSync(command, args, { cwd, stdio: ['ignore', 'inherit', 'inherit'] });
  if (status !== 0) process.exit(status ?? 1);
}

if (!existsSync(join(site, 'node_modules/vitepress'))) {
  run('npm', ['ci', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']);
}
rmSync(join(site, '.build'), { recursive: true, force: true });
mkdirSync(pages, { recursive: true });
run(process.execPath, ['scripts/errors.mjs'], root);
run(process.execPath, ['scripts/options.mjs'], root);
cpSync(join(root, 'docs'), pages, { recursive: true });
cpSync(join(site, 'index.md'), join(pages, 'index.md'));
mkdirSync(join(pages, 'public'), { recursive: true });
cpSync(join(root, 'docs/benchmarks.html'), join(pages, 'public/benchmarks-report.html'));
rmSync(join(pages, 'benchmarks.html'));
cpSync(join(root, 'mcp.schema.json'), join(pages, 'public/mcp.schema.json'));
cpSync(join(root, 'CHANGELOG.md'), join(pages, 'changelog.md'));
writeFileSync(join(pages, 'decisions/index.md'), decisions());
writeFileSync(join(pages, 'config-schema.md'), configSchema());
writeFileSync(join(pages, 'cli.md'), await cli());
for (const file of readdirSync(pages, { recursive: true, encoding: 'utf8' })) {
  if (file.endsWith('.md')) writeFileSync(join(pages, file), linked(file, readFileSync(join(pages, file), 'utf8')));
}

const exportsOf = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).exports;
// The package's entry repeats what the subpaths have: it comes last, and refers to them.
const entries = Object.values(exportsOf)
  .reverse()
  .filter((target) => typeof target !== 'string')
  .map(({ types }) => types.replace('./dist/', '../src/').replace('.d.ts', '.ts'));
run(process.execPath, ['node_modules/typedoc/bin/typedoc', ...entries.flatMap((entry) => ['--entryPoints', entry])]);
escapeTypes(join(pages, 'reference'));
run(process.execPath, ['node_modules/vitepress/bin/vitepress.js', 'build', '.']);

/** Links out of docs/ go to the repository. */
function linked(file, text) {
  const up = '../'.repeat(file.split('/').length);
  return text
    .replaceAll('](benchmarks.html)', '](pathname:///benchmarks-report.html)')
    .replaceAll('](pathname://', '](')
    .replace(/\]\(((?:\.\.\/)+)([^)\s]+)\)/g, (all, dots, path) => (dots === up ? `](${REPOSITORY}${path})` : all))
    .replace(/\]\(docs\//g, '](./');
}

function decisions() {
  const names = readdirSync(join(root, 'docs/decisions')).filter((name) => name.endsWith('.md'));
  const line = (name) => {
    const [title = ''] = readFileSync(join(root, 'docs/decisions', name), 'utf8').split('\n');
    return `- [${title.replace(/^# /, '')}](./${name})`;
  };
  return `# Decisions\n\nWhy things are as they are: context, options with measurements, decision.\n\n${names.map(line).join('\n')}\n`;
}

function configSchema() {
  const { properties, definitions } = JSON.parse(readFileSync(join(root, 'mcp.schema.json'), 'utf8'));
  const cell = (text) => text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll('{', '&#123;');
  const typeOf = (schema) => {
    if (schema.const !== undefined) return JSON.stringify(schema.const);
    if (schema.enum !== undefined) return schema.enum.map((each) => JSON.stringify(each)).join(', ');
    const some = schema.anyOf ?? schema.oneOf;
    if (some !== undefined) return some.map(typeOf).join(' or ');
    if (schema.type === 'array') return `array of ${typeOf(schema.items ?? {})}`;
    return schema.type ?? 'anything';
  };
  const rows = (at, schema) =>
    Object.entries(schema.properties ?? {}).flatMap(([name, each]) => {
      const path = at === '' ? name : `${at}.${name}`;
      const below =
        each.type === 'object' ? rows(path, each) : each.type === 'array' ? rows(`${path}[]`, each.items ?? {}) : [];
      return [`| \`${path}\` | ${cell(typeOf(each))} | ${cell(each.description ?? '')} |`, ...below];
    });
  const table = (schema) => `| field | type | meaning |\n|---|---|---|\n${rows('', schema).join('\n')}\n`;
  return `# Config schema

Made from what the parser checks. The schema itself is in the package, for editors: \`"$schema": "./node_modules/mcp-poolkit/mcp.schema.json"\`.
[Config files](./config.md) says what the fields do together.

## A server

${table(definitions.server)}
## \`gateway\`

${table(properties.gateway)}`;
}

/** The help of every command, as the program prints it. */
async function cli() {
  const { createProgram } = await import('../dist/cli/program.js');
  const text = (command, names) => {
    let help = '';
    command.configureOutput({
      writeOut: (part) => (help += part),
      getOutHelpWidth: () => 100,
      getOutHasColors: () => false,
    });
    command.outputHelp();
    const own = `## ${names.join(' ')}\n\n\`\`\`text\n${help.trimEnd()}\n\`\`\`\n`;
    const below = command.commands
      .filter((each) => each.name() !== 'help')
      .map((each) => text(each, [...names, each.name()]));
    return [own, ...below].join('\n');
  };
  return `# The program\n\nWhat \`--help\` says, printed by the program itself.\n\n${text(createProgram(), ['mcp-poolkit'])}`;
}

/** VitePress reads pages as Vue templates: a bare brace or angle of a type is text. */
function escapeTypes(folder) {
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.md')) continue;
    const parts = readFileSync(join(folder, file), 'utf8').split(/(^```[\s\S]*?^```$|`[^`\n]*`)/m);
    const text = parts.map((part, index) => (index % 2 === 1 ? part : part.replaceAll('{{', '&#123;&#123;'))).join('');
    // By the names that programs import.
    const named = text.replace(
      /^(# |- \[)src(?:\/(\w+))?/gm,
      (_all, mark, part) => `${mark}mcp-poolkit${part ? `/${part}` : ''}`,
    );
    writeFileSync(join(folder, file), named);
  }
}
