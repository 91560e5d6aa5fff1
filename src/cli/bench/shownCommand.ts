import { wordsWithoutSecrets } from '../../core/text/withoutSecrets.js';

const quoted = (word: string): string => (/^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

/** A command line as a report shows it, which is for others to read: without the secrets in it. */
export const shownCommand = (args: readonly string[]): string =>
  ['mcp-poolkit', ...wordsWithoutSecrets(args).map(quoted)].join(' ');
