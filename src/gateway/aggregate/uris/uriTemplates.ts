/** A piece of a template: text as it stands, or what an expression may stand for. */
type Piece =
  | { readonly text: string }
  | { readonly text?: undefined; readonly slashes: boolean; readonly optional: boolean };

export interface UriTemplate {
  readonly pieces: readonly Piece[];
  /** Characters of text: of two templates that fit, the one with more of it says more. */
  readonly literal: number;
}

/** A template, parsed when a URI is held against it for the first time. */
interface Listed {
  readonly text: string;
  parsed?: UriTemplate;
}

/** A server's templates by how they begin: a URI is held against those alone that begin as it does. */
export class UriTemplates {
  readonly #byStart = new Map<string, Listed[]>();
  readonly #lengths: ReadonlySet<number>;

  constructor(templates: readonly string[]) {
    for (const text of templates) {
      const brace = text.indexOf('{');
      const start = text.slice(0, brace < 0 ? MAX_START : Math.min(brace, MAX_START));
      const others = this.#byStart.get(start);
      if (others === undefined) this.#byStart.set(start, [{ text }]);
      else others.push({ text });
    }
    this.#lengths = new Set([...this.#byStart.keys()].map(({ length }) => length));
  }

  /** Those that may fit, while there is work left. */
  *beginningLike(uri: string, work: Work): Generator<UriTemplate> {
    for (const length of this.#lengths) {
      work.left -= LOOK;
      if (work.left < 0) return;
      if (length > uri.length) continue;
      for (const each of this.#byStart.get(uri.slice(0, length)) ?? []) {
        if (each.parsed === undefined) work.left -= PARSING * each.text.length;
        if (work.left < 0) return;
        each.parsed ??= parseUriTemplate(each.text);
        yield each.parsed;
      }
    }
  }
}

/** How much may still be looked at, in pieces of templates times characters of URIs: 10 ns each (Node 20). */
export interface Work {
  left: number;
}

/** What the URIs of one message are worth: 20 ms. */
export const workOfMessage = (): Work => ({ left: 2_000_000 });

/** What parsing a template is worth, by its characters. */
const PARSING = 4;

/** Characters of a template's beginning that it is found by. */
const MAX_START = 32;

/** What a look at a template is worth, even where the URI begins otherwise. */
const LOOK = 4;

/** A template of more expressions fits nothing: it would take long to find out. */
const MAX_EXPRESSIONS = 50;
const EXPRESSION = /\{([^{}]*)\}/;

/** The pieces of a template (RFC 6570, all levels). */
export function parseUriTemplate(template: string): UriTemplate {
  // One of more parts has too many pieces to fit anything: half of its parts are expressions.
  const parts = template.split(EXPRESSION, 4 * MAX_EXPRESSIONS + 6);
  const pieces = parts.flatMap((part, index): Piece[] => {
    if (index % 2 === 0) return part === '' ? [] : [{ text: part }];
    const operator = /^[+#./;?&]/.exec(part)?.[0] ?? '';
    return [{ slashes: '+#/?&'.includes(operator) && operator !== '', optional: operator !== '' && operator !== '+' }];
  });
  const literal = parts.reduce((sum, part, index) => sum + (index % 2 === 0 ? part.length : 0), 0);
  return { pieces, literal };
}

/**
 * Whether a URI can be an expansion of the template. One pass over the URI for each piece: a server's template cannot make it
 * take longer, as a regular expression's could. When `work` is used up, nothing fits any more.
 */
export function fits({ pieces }: UriTemplate, uri: string, work: Work): boolean {
  work.left -= LOOK;
  if (work.left < 0) return false;
  const first = pieces[0];
  const last = pieces.at(-1);
  if (first?.text !== undefined && !uri.startsWith(first.text)) return false;
  if (last?.text !== undefined && !uri.endsWith(last.text)) return false;
  if (pieces.length > 2 * MAX_EXPRESSIONS + 1) return false;
  work.left -= pieces.length * uri.length;
  if (work.left < 0) return false;
  // Where the next piece may begin.
  let from = new Uint8Array(uri.length + 1);
  from[0] = 1;
  for (const piece of pieces) {
    const next = new Uint8Array(uri.length + 1);
    if (piece.text !== undefined) {
      for (let at = from.indexOf(1); at !== -1; at = from.indexOf(1, at + 1)) {
        if (uri.startsWith(piece.text, at)) next[at + piece.text.length] = 1;
      }
    } else {
      let inside = false;
      for (let at = 0; at <= uri.length; at++) {
        if (inside) next[at] = 1;
        if (from[at] === 1) {
          inside = true;
          if (piece.optional) next[at] = 1;
        }
        if (!piece.slashes && uri[at] === '/') inside = false;
      }
    }
    from = next;
  }
  return from[uri.length] === 1;
}
