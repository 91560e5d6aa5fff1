import { OptionError } from '../core/errors.js';
import { readWholeSync, withoutPath } from '../core/files/readWhole.js';
import { expandVariables } from '../registry/config/expandVariables.js';

/** What the options of `secretText` say of themselves in help texts. */
export const SECRET_HELP = `other users read command lines in 'ps': write a secret as '\${NAME}', env:NAME or @FILE`;

/** Many headers, or keys. */
const MAX_BYTES = 256 * 1_024;

/**
 * What the text of an option stands for, so that no secret need stand on the command line, where every user of the machine can read
 * it: `env:NAME` is a variable of the environment, `@FILE` what a file or pipe holds, and in any other text `${NAME}` and
 * `${NAME:-default}` are variables, as in configs. No error tells a value. @throws OptionError
 */
export function secretText(option: string, text: string): string {
  if (text.startsWith('@')) return fileText(option, text.slice(1));
  const variable = /^env:([A-Za-z_]\w*)$/.exec(text)?.[1];
  const reference = variable === undefined ? text : `\${${variable}}`;
  const expanded = expandVariables(reference, process.env);
  if ('text' in expanded) return expanded.text;
  const unset = [...reference.matchAll(/\$\{([A-Za-z_]\w*)\}/g)].find(
    ([, name = '']) => !Object.hasOwn(process.env, name),
  );
  // What is no reference may be a part of a secret.
  if (unset === undefined) throw new OptionError(option, '…', `\${NAME} or \${NAME:-default}, or $\${ for a plain \${`);
  throw new OptionError(option, variable === undefined ? unset[0] : text, 'a variable that is set');
}

/** Whether it may be many lines, and stands for the whole of what an option takes. */
export const isSource = (text: string): boolean => /^(@|env:[A-Za-z_]\w*$)/.test(text);

/** The lines of it that hold something, without the space around them. */
export const linesOf = (text: string): readonly string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');

function fileText(option: string, file: string): string {
  let text: string;
  try {
    text = readWholeSync(file, MAX_BYTES).trim();
  } catch (error) {
    throw new OptionError(option, `@${file}`, `a file that can be read: ${withoutPath(error)}`, error);
  }
  if (text === '') throw new OptionError(option, `@${file}`, 'a file that is not empty');
  return text;
}
