/** What stands before the host of a URL, and what may hold one with a query. Each of these patterns takes one step a character. */
const USER = /\/\/[^/?#\s]*@/g;
const PIECE = /[^\s"'#]+/g;

/** What stands behind a name that says it is a secret: `--api-key X`, `--token=X`, `API_KEY=X`, `"password": "X"`, `Authorization: Bearer X`. */
const NAME = '(?=[\\w-]*(?:token|key|secret|passw|pwd|auth|credential|cookie))[\\w-]+';
const QUOTED = '"[^"]*"|\'[^\']*\'';
const VALUE = new RegExp(`((?:^|[\\s"'{,])(?:-{1,2}${NAME}\\s+|${NAME}["']?=))(?:${QUOTED}|[^\\s"']+)`, 'gi');
const HEADER = new RegExp(`((?:^|[\\s"'{,])${NAME}["']?:\\s*)(?:${QUOTED}|[^"',]+)`, 'gi');
const SECRET_OPTION = new RegExp(`^-{1,2}${NAME}$`, 'i');

/**
 * A URL, or a command line, as outputs that others read show it: without user and password, the values of a query, and what stands behind
 * a name that says it is a secret. What is left out is `...`.
 */
export function withoutSecrets(text: string): string {
  const plain = text.replace(USER, '//...@').replace(PIECE, withoutQuery);
  return plain.replace(VALUE, '$1...').replace(HEADER, '$1...');
}

function withoutQuery(piece: string): string {
  const url = piece.indexOf('://');
  const query = url < 0 ? -1 : piece.indexOf('?', url);
  return query < 0 || query === piece.length - 1 ? piece : `${piece.slice(0, query + 1)}...`;
}

/** The same of the words of a command line, with the value of each `-H` and `--header`. */
export function wordsWithoutSecrets(words: readonly string[]): string[] {
  let inHeaders = false;
  return words.map((word, i) => {
    if (/^(--header=|-H.)/.test(word)) return withoutValue(word);
    // Any number of them may follow.
    if (word.startsWith('-')) inHeaders = word === '--header' || word === '-H';
    else if (inHeaders) return withoutValue(word);
    else if (SECRET_OPTION.test(words[i - 1] ?? '')) return '...';
    return withoutSecrets(word);
  });
}

const withoutValue = (header: string): string => header.replace(/:.*$/s, ': ...');
