/** What a server or a peer wrote is only ever set as text; control characters and those that turn text around are shown as such. */
const UNSEEN = /[\p{Cc}\p{Cf}]/gu;

export function shown(text: string): string {
  return text.replace(UNSEEN, (char) =>
    char === '\n' || char === '\t' ? char : `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  );
}

export function byId<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`#${id} is missing`);
  return found as T;
}

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = '',
  text?: string,
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (className !== '') made.className = className;
  if (text !== undefined) made.textContent = shown(text);
  return made;
}

/** Sets text only where it changed: what is selected or read aloud stays so. */
export function setText(target: HTMLElement, text: string): void {
  const safe = shown(text);
  if (target.textContent !== safe) target.textContent = safe;
}

export function button(label: string, title: string, onClick: () => void, className = ''): HTMLButtonElement {
  const made = element('button', className, label);
  made.type = 'button';
  made.setAttribute('aria-label', shown(title));
  made.addEventListener('click', onClick);
  return made;
}

export function ms(value: number | null): string {
  if (value === null) return '–';
  if (value < 10) return `${value.toFixed(1)} ms`;
  return value < 10_000 ? `${Math.round(value)} ms` : duration(value);
}

export function duration(value: number): string {
  const s = Math.floor(value / 1_000);
  if (s < 60) return `${s} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return s < 86_400 ? `${Math.floor(s / 3_600)} h ${Math.floor((s % 3_600) / 60)} min` : `${Math.floor(s / 86_400)} d`;
}

export function bytes(value: number | null): string {
  if (value === null) return '–';
  return value < 2 ** 20
    ? `${Math.round(value / 1_024)} KiB`
    : `${(value / 2 ** 20).toFixed(value < 2 ** 27 ? 1 : 0)} MiB`;
}
