/** Whether `text` is what `pattern` says, where `*` stands for any characters and `?` for one. Case counts. */
export function globMatches(pattern: string, text: string): boolean {
  let at = 0;
  let next = 0;
  let star = -1;
  let starText = 0;
  // Linear where there is one star, never exponential: the last star takes one more character after each mismatch.
  while (next < text.length) {
    if (pattern[at] === '*') {
      star = at++;
      starText = next;
    } else if (at < pattern.length && (pattern[at] === '?' || pattern[at] === text[next])) {
      at++;
      next++;
    } else if (star >= 0) {
      at = star + 1;
      next = ++starText;
    } else return false;
  }
  while (pattern[at] === '*') at++;
  return at === pattern.length;
}
