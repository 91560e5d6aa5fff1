/** Whether a name passes rules: not denied, and allowed where `allow` names any. */
export function passes(
  name: string,
  { allow, deny = [] }: { readonly allow?: readonly string[]; readonly deny?: readonly string[] },
): boolean {
  if (deny.some((pattern) => matches(pattern, name))) return false;
  return allow === undefined || allow.some((pattern) => matches(pattern, name));
}

/** `*` stands for any text. In time linear in the name for each part between two of them. */
export function matches(pattern: string, name: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return pattern === name;
  const last = rest.pop() ?? '';
  if (!name.startsWith(first) || name.length < first.length + last.length || !name.endsWith(last)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found < 0 || found + part.length > name.length - last.length) return false;
    at = found + part.length;
  }
  return true;
}
