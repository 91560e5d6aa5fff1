import type { Command, Option } from 'commander';

/** The command lines of the program in a text of shell, each as its words; `#` begins a comment, `\` joins lines. */
export function commandLines(text: string): string[][] {
  return text
    .replace(/\\\n\s*/g, ' ')
    .split('\n')
    .map((line) => wordsOf(line.replace(/(^|\s)#.*$/, '')))
    .flatMap((words) => {
      const start = words.indexOf('mcp-poolkit');
      const runs = start === 0 || (start > 0 && /^(npx|-y)$/.test(words[start - 1] ?? ''));
      return runs ? [words.slice(start + 1)] : [];
    });
}

/** Quoted text is one word. */
const wordsOf = (line: string): string[] =>
  (line.match(/"[^"]*"|'[^']*'|[^\s|;&]+|[|;&]+/g) ?? []).filter((word) => word !== '');

/** What of a command line the program does not know: a command, or a flag of its command. */
export function unknownWords(program: Command, words: readonly string[]): string[] {
  let command = program;
  const unknown: string[] = [];
  for (const [index, word] of words.entries()) {
    if (word === '--' || /^[|;&>]/.test(word)) break; // what follows is another program's
    const flag = /^(--?[A-Za-z][\w-]*)(=|$)/.exec(word)?.[1];
    if (flag !== undefined) {
      const all: readonly Option[] = [...command.options, ...program.options];
      const known = all.some(({ short, long }) => flag === short || flag === long) || /^(-h|--help)$/.test(flag);
      if (!known) unknown.push(`${command.name()} ${flag}`);
      continue;
    }
    const sub = command.commands.find((each) => each.name() === word || each.aliases().includes(word));
    if (sub !== undefined) command = sub;
    else if (index === 0 && word !== '[command]') unknown.push(word);
  }
  return unknown;
}
