// Reads interfaces and their doc comments out of declaration files as tsc writes them: one member a line, indented by four,
// its doc comment before it. What is made of it: the tables of options, the schema of config files, and their tests.
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

const COMMENT = String.raw`\/\*\*(?:(?!\*\/)[\s\S])*\*\/`;
const MEMBER = new RegExp(
  String.raw`^ {4}(${COMMENT}\n {4})?(?:readonly )?(\w+)(\?)?(:|\()([\s\S]*?);$(?=\n {4}\S|\n*(?![\s\S]))`,
  'gm',
);

/** The file a declaration file imports `name` from, else itself. */
function sourceOf(name, file, text) {
  const from = new RegExp(String.raw`^(?:import|export) [^;]*\b${name}\b[^;]* from '(\.[^']+)\.js'`, 'm').exec(
    text,
  )?.[1];
  return from === undefined ? file : resolve(dirname(file), `${from}.d.ts`);
}

/** The interfaces an index exports, each with the file that declares it. */
export function exportedInterfaces(index) {
  const text = readFileSync(index, 'utf8');
  return [...text.matchAll(/^export (?:type )?\{([^}]*)\} from '([^']+)\.js'/gm)].flatMap(([, names, from]) => {
    const file = resolve(dirname(index), `${from}.d.ts`);
    return names.split(',').map((name) => ({ file, name: name.trim().replace(/^type /, '') }));
  });
}

/** The names of the interfaces that a file declares. */
export function interfacesIn(file) {
  return [...readFileSync(file, 'utf8').matchAll(/^export interface (\w+)/gm)].map(([, name]) => name);
}

/** The text of a doc comment before its tags, in one line, and what its tags say. */
function documented(comment = '') {
  const text = comment
    .replace(/^\/\*\*|\*\/\s*$/g, '')
    .replace(/^\s*\* ?/gm, '')
    .replace(/\{@link (\w+)\}/g, '`$1`')
    .replace(/\s+/g, ' ')
    .trim();
  const [words, ...tags] = text.split(/(?:^| )@(?=defaultValue|deprecated|see|internal|example)/);
  const tag = (name) =>
    tags
      .find((each) => each.startsWith(name))
      ?.slice(name.length)
      .trim();
  return { words: words.trim(), standard: tag('defaultValue'), deprecated: tag('deprecated') !== undefined };
}

/** What a declaration extends, and its body: of an interface, or of a type that is put together of such. */
function declarationOf(name, text) {
  const kind = '^(?:export )?(?:declare )?';
  const head = String.raw`interface ${name}(?:<.*>)?(?: extends ([^{]*?))? \{(?:\n([\s\S]*?)^)?\}`;
  const found = new RegExp(kind + head, 'm').exec(text);
  if (found !== null) return { parents: found[1] ?? '', body: found[2] ?? '' };
  const one = String.raw`(?:(?:Omit|Pick)<\w+, [^>]*>|[A-Z]\w+)`;
  const alias = new RegExp(`${kind}type ${name} = (${one}(?: & ${one})*);`, 'm').exec(text);
  return alias === null ? undefined : { parents: alias[1], body: '' };
}

/**
 * The members of an interface in their order, those it inherits first; `undefined` where the file has no such interface.
 * A member that is declared again takes the place and the words of the newer declaration.
 */
export function membersOf(file, name) {
  const text = readFileSync(file, 'utf8');
  const found = declarationOf(name, text);
  if (found === undefined) {
    const source = sourceOf(name, file, text);
    return source === file ? undefined : membersOf(source, name);
  }
  const members = new Map();
  const parents = /(?:(Omit|Pick)<)?\b([A-Z]\w+)(?:<[^<>]*>)?(?:, ([^>]*)>)?/g;
  for (const [, list, parent, chosen = ''] of found.parents.matchAll(parents)) {
    const names = new Set([...chosen.matchAll(/'(\w+)'/g)].map(([, each]) => each));
    for (const member of membersOf(sourceOf(parent, file, text), parent) ?? []) {
      if (list === undefined || names.has(member.name) === (list === 'Pick')) members.set(member.name, member);
    }
  }
  for (const [, comment, member, optional, , type] of found.body.matchAll(MEMBER)) {
    members.delete(member);
    const flat = type
      .replace(/\/\*\*[\s\S]*?\*\//g, '')
      .replace(/\s+/g, ' ')
      .trim();
    members.set(member, {
      name: member,
      of: name,
      optional: optional !== undefined,
      type: flat,
      ...documented(comment),
    });
  }
  return [...members.values()];
}
