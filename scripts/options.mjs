// Fills the tables of options in README.md and docs/ from the declarations and their doc comments. A table stands between
// `<!-- options: PoolOptions -->` and `<!-- /options -->`. More interfaces follow after commas; `without PoolOptions` leaves
// out what comes from there, `except a b` single members, `only a b` all others. `--check` writes nothing and says what differs, also
// each `@defaultValue` that is not the default which the code takes. It reads dist/: `npm run build` first.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { exportedInterfaces, membersOf } from './options/declarations.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const BEGIN = /^<!-- options: (.*) -->\n/m;
const END = '<!-- /options -->';
const MADE = /^<!-- options: [\s\S]*?<!-- \/options -->$/gm;
const BY_HAND = /^\|(?:.*\|)? (?:options?|default) \|.*$(?=\n\|[-:| ]+$)/m;
const indexes = Object.values(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).exports)
  .map(({ types }) => types)
  .filter((types) => types !== undefined && types !== './dist/index.d.ts' && types !== './dist/errors.d.ts');
const declared = indexes.flatMap((types) => exportedInterfaces(join(root, types)));
/** The constants that are not named after their options. */
const OPTIONS_OF = {
  CLOSE_DEFAULTS: 'CloseOptions',
  HTTP_DEFAULTS: 'UrlPoolOptions',
  LIFECYCLE_CONFIG_DEFAULTS: 'LifecycleConfig',
  LIST_DEFAULTS: 'ListBounds',
  SHUTDOWN_DEFAULTS: 'ShutdownPlanOptions',
};
const faults = [];

/** A default as readers write it: 65,536; 64 MiB; code where it is a value. */
function shown(standard, name) {
  const [, digits, note = ''] = /^(\d[\d_]*)( \(.*\))?$/.exec(standard) ?? [];
  if (digits !== undefined && !/port$/i.test(name)) {
    const value = Number(digits.replaceAll('_', ''));
    const units = /Bytes$/.test(name)
      ? [
          ['GiB', 2 ** 30],
          ['MiB', 2 ** 20],
          ['KiB', 2 ** 10],
        ]
      : [];
    const unit = units.find(([, size]) => value >= size && value % size === 0);
    return unit === undefined ? value.toLocaleString('en-US') + note : `${value / unit[1]} ${unit[0]}`;
  }
  return /^(true|false|Infinity|'[^']*'|\{\}|\[.*\]|[\w.]+\(\)|Math\.random)$/.test(standard)
    ? `\`${standard}\``
    : standard;
}

/** What a text union may be, unless the words say it. */
function choices(type, words) {
  const values = type.split(/\s*\|\s*/).filter((each) => each !== '' && each !== 'undefined');
  if (values.length < 2 || !values.every((each) => /^'[^']*'$/.test(each))) return '';
  if (values.every((each) => words.includes(`\`${each}\``) || words.includes(`\`${each.slice(1, -1)}\``))) return '';
  return ` One of ${values.map((each) => `\`${each}\``).join(', ')}.`;
}

const cell = (text) => text.replaceAll('|', '\\|').replace(/(`[^`]*`)|</g, (_all, code) => code ?? '&lt;');

function interfaceOf(name) {
  const found = declared.find((each) => each.name === name);
  const members = found && membersOf(found.file, name);
  if (members === undefined) throw new Error(`no subpath exports an interface ${name}`);
  return members;
}

function table(request) {
  const [, names, , without = '', , selection, list = ''] =
    /^([\w, ]+?)( without ([\w ]+?))?( (except|only) ([\w ]+))?$/.exec(request) ?? [];
  if (names === undefined) throw new Error(`options: ${request}: not understood`);
  const listed = list.split(' ').filter((each) => each !== '');
  const parents = without.split(' ').filter((each) => each !== '');
  const members = names.split(', ').flatMap(interfaceOf);
  for (const each of listed) {
    if (!members.some(({ name }) => name === each)) throw new Error(`options: ${request}: there is no ${each}`);
  }
  const rows = [...new Map(members.map((member) => [member.name, member])).values()]
    .filter(({ of, deprecated }) => !deprecated && !parents.includes(of))
    .filter(({ name }) => selection === undefined || listed.includes(name) === (selection === 'only'))
    .map(({ name, optional, type, words, standard = '' }) => {
      const preset = optional ? shown(standard, name) : 'required';
      return `| \`${name}\` | ${cell(preset)} | ${cell(words + choices(type, words))} |`;
    });
  return ['', '| option | default | meaning |', '|---|---|---|', ...rows, '', ''].join('\n');
}

function filled(page, text) {
  const parts = text.split(BEGIN);
  return parts
    .map((part, index) => {
      if (index % 2 === 1) return `<!-- options: ${part} -->\n`;
      if (index === 0) return part;
      const end = part.indexOf(END);
      if (end < 0) throw new Error(`${page}: no ${END} after options: ${parts[index - 1]}`);
      return table(parts[index - 1]) + part.slice(end);
    })
    .join('');
}

/** `POOL_DEFAULTS` holds the defaults of `PoolOptions`: what both write as a plain value must be the same. */
async function checkDefaults() {
  const seen = new Set();
  for (const types of indexes) {
    const exported = await import(pathToFileURL(join(root, types.replace('.d.ts', '.js'))));
    for (const [constant, values] of Object.entries(exported)) {
      if (!constant.endsWith('_DEFAULTS') || seen.has(constant)) continue;
      seen.add(constant);
      const short = constant.replace(/_DEFAULTS$/, '').replaceAll('_', '');
      const name =
        OPTIONS_OF[constant] ??
        declared.find((each) => each.name.toLowerCase() === `${short}options`.toLowerCase())?.name;
      if (name === undefined) faults.push(`${constant}: no options are named like it`);
      else for (const member of interfaceOf(name)) checkDefault(`${name}.${member.name}`, member, values, constant);
    }
  }
}

function checkDefault(title, { name, standard: text = '' }, values, constant) {
  const standard = text.replace(/ \(.*\)$/, '');
  const value = values[name];
  if (!/^(\d[\d_.]*|true|false|Infinity|'[^']*')$/.test(standard) || value === undefined) return;
  const written = /^\d/.test(standard) ? standard.replaceAll('_', '') : standard;
  const actual = typeof value === 'string' ? `'${value}'` : String(value);
  if (written !== actual) faults.push(`${title}: its @defaultValue is ${standard}, but ${constant} has ${actual}`);
}

const pages = [
  'README.md',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];
const check = process.argv.includes('--check');
for (const page of pages) {
  const text = readFileSync(join(root, page), 'utf8');
  const made = filled(page, text);
  // The tables of docs/security.md are of bounds and their tests, which a test of its own compares with the code.
  const byHand = page === 'docs/security.md' ? null : BY_HAND.exec(made.replace(MADE, ''));
  if (byHand !== null) faults.push(`${page}: a table of options that is not made from the types: ${byHand[0].trim()}`);
  if (made === text) continue;
  if (check) faults.push(`${page}: a table of options is not what the types say: node scripts/options.mjs`);
  else writeFileSync(join(root, page), made);
}
await checkDefaults();
for (const fault of faults) console.error(fault);
process.exitCode = faults.length === 0 ? 0 : 1;
