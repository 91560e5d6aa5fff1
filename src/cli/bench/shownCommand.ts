const quoted = (word: string): string => (/^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

/** The value of a header may be a secret; so may what stands before the host in a URL. */
const withoutValue = (header: string): string => header.replace(/:.*$/s, ': ...');
const withoutUser = (word: string): string => word.replace(/\/\/[^/?#\s]*@/g, '//...@');

/** A command line as a report shows it, which is for others to read: without the secrets in it. */
export function shownCommand(args: readonly string[]): string {
  let inHeaders = false;
  const shown = args.map((arg) => {
    if (arg.startsWith('--header=')) return `--header=${withoutValue(arg.slice('--header='.length))}`;
    // Any number of them may follow.
    if (arg.startsWith('-')) inHeaders = arg === '--header';
    else if (inHeaders) return withoutValue(arg);
    return withoutUser(arg);
  });
  return ['mcp-poolkit', ...shown.map(quoted)].join(' ');
}
