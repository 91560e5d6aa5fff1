import { homedir } from 'node:os';
import { basename, dirname, sep } from 'node:path';
import type { Expansion, References, Variables } from '../expandVariables.js';
import { isObject } from './findServers.js';

/** Folders in which editors keep the config of the workspace above. */
const EDITOR_FOLDERS: ReadonlySet<string> = new Set([
  '.vscode',
  '.cursor',
  '.zed',
  '.codex',
  '.gemini',
  '.roo',
  '.kiro',
]);

export interface ReferenceOptions {
  /** Absolute folder of the file. */
  readonly folder: string;
  readonly variables: Variables;
  /** What `${workspaceFolder}` stands for. */
  readonly workspaceFolder?: string | undefined;
  /** `inputs` of the file. */
  readonly inputs: unknown;
}

/** The workspace a file belongs to: the folder above `.vscode` and its like, else the file's own. */
export function workspaceOf(folder: string): string {
  return EDITOR_FOLDERS.has(basename(folder)) ? dirname(folder) : folder;
}

const homeOf = (variables: Variables): string => variables['HOME'] ?? variables['USERPROFILE'] ?? homedir();

/** The reference that stands for the home folder. */
// biome-ignore lint/suspicious/noTemplateCurlyInString: a reference of config files, not of ours
export const HOME = '${userHome}';

/** What a text of opencode is in our words: `{env:NAME}` there is `${env:NAME}` here. */
export function opencodeReferences(text: string): { readonly text: string; readonly problem: string | undefined } {
  const file = /(?<!\$)\{file:[^{}]*\}/.test(text);
  const problem = `a {file:…} is not read here: write \${NAME}, and set the variable NAME to what the file says`;
  return {
    text: text.replace(/(?<!\$)\{env:([^{}]+)\}/g, (_, name: string) => `\${env:${name.trim()}}`),
    problem: file ? problem : undefined,
  };
}

/** What is passed on bare although it looks like a reference. Its name is not shown: in a password it is a piece of that. */
export function bareReference(text: string): string | undefined {
  const passed = (form: string): string => `a ${form} is passed on as it is: write \${NAME}`;
  if (/(?<!\$)\$[A-Z_][A-Z0-9_]*/.test(text)) return passed('$NAME');
  if (/^%[A-Z_][A-Z0-9_]*%$/i.test(text)) return passed('%NAME%');
  return /(?<!\$)\{(env|file):[^{}]+\}/.test(text)
    ? passed(text.includes('{env:') ? '{env:NAME}' : '{file:…}')
    : undefined;
}

/** `${env:NAME}`, `${workspaceFolder}`, `${userHome}`, `${input:id}` and the like. */
export function referencesOf({ folder, variables, workspaceFolder, inputs }: ReferenceOptions): References {
  const workspace = workspaceFolder ?? workspaceOf(folder);
  const fixed: Readonly<Record<string, string>> = {
    workspaceFolder: workspace,
    workspaceRoot: workspace,
    workspaceFolderBasename: basename(workspace),
    userHome: homeOf(variables),
    pathSeparator: sep,
    '/': sep,
    // A `~` at the beginning that is no home folder.
    '~': '~',
  };
  let defaults: ReadonlyMap<unknown, unknown> | undefined;
  return (inner) => {
    if (Object.hasOwn(fixed, inner)) return { text: fixed[inner] ?? '' };
    const [kind = '', name = ''] = inner.split(/:(.*)/s);
    if (kind === 'env' && name !== '') return variable(name, variables);
    if (kind !== 'input' || name === '') return undefined;
    defaults ??= defaultsOf(inputs);
    return input(name, defaults, variables);
  };
}

function variable(name: string, variables: Variables): Expansion {
  const value = Object.hasOwn(variables, name) ? variables[name] : undefined;
  return value === undefined ? { problem: `variable ${name} is not set` } : { text: value };
}

/** The defaults of `inputs`, by id; of two with one id the first counts. */
function defaultsOf(inputs: unknown): ReadonlyMap<unknown, unknown> {
  const all = Array.isArray(inputs) ? inputs.filter(isObject) : [];
  return new Map(all.reverse().map((each) => [each['id'], each['default']]));
}

/** An editor asks its user; here a variable answers, else the input's default. */
function input(id: string, defaults: ReadonlyMap<unknown, unknown>, variables: Variables): Expansion {
  const name = `INPUT_${id.toUpperCase().replace(/[^A-Z0-9]+/g, '_')}`;
  const given = Object.hasOwn(variables, name) ? variables[name] : undefined;
  if (given !== undefined) return { text: given };
  const fallback = defaults.get(id);
  if (typeof fallback === 'string') return { text: fallback };
  return { problem: `input ${id} is asked for by an editor, and there is none here: set the variable ${name}` };
}
