/** What the reader gives. */
export type Yaml = string | number | boolean | null | readonly Yaml[] | { readonly [key: string]: Yaml };

interface Line {
  readonly indent: number;
  readonly text: string;
}

/**
 * As much YAML as our manifests are written in: documents, block maps and lists, plain and double-quoted scalars,
 * literal blocks (`|`), flow lists in JSON, comment lines. Throws on anything else.
 */
export function readYaml(source: string): readonly Yaml[] {
  return source.split(/^---$/m).map((text) => {
    const lines = text
      .split('\n')
      .filter((line) => !/^\s*(#|$)/.test(line))
      .map((line): Line => ({ indent: line.search(/\S/), text: line.trim() }));
    const reader = new Reader(lines);
    const value = reader.block(0);
    if (!reader.done) throw new Error(`not read: ${reader.next?.text}`);
    return value;
  });
}

class Reader {
  readonly #lines: Line[];

  constructor(lines: readonly Line[]) {
    this.#lines = [...lines];
  }

  get next(): Line | undefined {
    return this.#lines[0];
  }

  get done(): boolean {
    return this.#lines.length === 0;
  }

  block(indent: number): Yaml {
    return this.next?.text.startsWith('- ') ? this.#list(indent) : this.#map(indent);
  }

  #list(indent: number): readonly Yaml[] {
    const items: Yaml[] = [];
    while (this.next?.indent === indent && this.next.text.startsWith('- ')) {
      const text = this.next.text.slice(2);
      this.#lines.shift();
      if (!/^[\w.-]+:( |$)/.test(text)) items.push(scalar(text));
      else {
        // The item's first key stands where the dash left room for it.
        this.#lines.unshift({ indent: indent + 2, text });
        items.push(this.#map(indent + 2));
      }
    }
    return items;
  }

  #map(indent: number): Yaml {
    const map: Record<string, Yaml> = {};
    while (this.next?.indent === indent) {
      const line = this.#lines.shift() as Line;
      const hit = /^([\w.-]+):(?: (.*))?$/.exec(line.text);
      if (hit?.[1] === undefined) throw new Error(`not a key: ${line.text}`);
      map[hit[1]] = this.#value(hit[2], indent);
    }
    return map;
  }

  #value(text: string | undefined, indent: number): Yaml {
    if (text === '|') {
      const lines: string[] = [];
      while (this.next !== undefined && this.next.indent > indent) lines.push((this.#lines.shift() as Line).text);
      return `${lines.join('\n')}\n`;
    }
    if (text !== undefined) return scalar(text);
    if (this.next !== undefined && this.next.indent > indent) return this.block(this.next.indent);
    return null;
  }
}

function scalar(text: string): Yaml {
  if (/^["[{]/.test(text)) return JSON.parse(text) as Yaml;
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  if (text === 'true' || text === 'false') return text === 'true';
  return text;
}

/** The value at a path of keys and indexes; throws when there is none. */
export function at(value: Yaml | undefined, ...path: readonly (string | number)[]): Yaml {
  let found: Yaml | undefined = value;
  for (const key of path) found = (found as { readonly [key: string]: Yaml } | null | undefined)?.[key];
  if (found === undefined) throw new Error(`nothing at ${path.join('.')}`);
  return found;
}
