/** What looks like a line for a shell: a word and more, a quote, a variable that is set, a path and then a flag or another path. */
const LINES = [/^[\w.-]+\s+\S/, /^["']/, /^[A-Za-z_]\w*=/, /\s(-|\/|~|[A-Za-z]:\\)/];

/** Whether a `command` without arguments looks like a whole line; "/opt/My App/server" does not. */
export const isCommandLine = (command: string): boolean => LINES.some((line) => line.test(command.trim()));

/** What to do about it. */
export const COMMAND_LINE_HINT =
  'no shell reads a whole line: the first word is the command, the others are args, variables go into env';
