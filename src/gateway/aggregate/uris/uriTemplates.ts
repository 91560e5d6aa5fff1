import { MAX_URI_LENGTH } from '../../rpc/limits.js';

/** A piece of a template: text as it stands, or what an expression may stand for. */
type Piece =
  | { readonly text: string }
  | { readonly text?: undefined; readonly slashes: boolean; readonly optional: boolean };

export interface UriTemplate {
  readonly pieces: readonly Piece[];
  /** Characters of text: of two templates that fit, the one with more of it says more. */
  readonly literal: number;
}

/** A template, parsed when a URI that begins and ends like it is held against it for the first time. */
interface Listed {
  readonly text: string;
  /** Its text before its first expression, and behind its last one. */
  readonly head: string;
  readonly tail: string;
  parsed?: UriTemplate;
}

/** A server's templates by how they begin: a URI is held against those alone that begin as it does. */
export class UriTemplates {
  readonly #byStart = new Map<string, Listed[]>();
  readonly #lengths = new Set<number>();

  add(text: string): void {
    const brace = text.indexOf('{');
    const head = brace < 0 ? text : text.slice(0, brace);
    const listed = { text, head, tail: text.slice(text.lastIndexOf('}') + 1) };
    const start = head.slice(0, MAX_START);
    this.#lengths.add(start.length);
    const others = this.#byStart.get(start);
    if (others === undefined) this.#byStart.set(start, [listed]);
    else others.push(listed);
  }

  /** Those that may fit, while there is work left. */
  *beginningLike(uri: string, work: Work): Generator<UriTemplate> {
    for (const length of this.#lengths) {
      work.left -= LOOK;
      if (work.left < 0) return;
      if (length > uri.length) continue;
      for (const each of this.#byStart.get(uri.slice(0, length)) ?? []) {
        work.left -= LOOK;
        if (work.left < 0) return;
        if (!uri.startsWith(each.head) || !uri.endsWith(each.tail)) continue;
        if (each.parsed === undefined) work.left -= PARSING * each.text.length;
        each.parsed ??= parseUriTemplate(each.text);
        yield each.parsed;
      }
    }
  }
}

/** How much may still be looked at, in units of 10 ns (Node 20). */
export interface Work {
  left: number;
}

/** What the URIs in one message of a server are worth, which are looked at at once: 5 ms. */
export const workOfMessage = (): Work => ({ left: 500_000 });

/** What a client's URIs are worth, which are looked for in turns of the event loop: 20 ms each, and 200 ms in all. */
export const workOfUris = (uris: number): Work => ({ left: 2_000_000 * Math.min(uris, 10) });

/** What parsing a template is worth, by its characters. */
const PARSING = 4;

/** Characters of a template's beginning that it is found by. */
const MAX_START = 32;

/** What a look at a server's list of them is worth. */
export const LIST = 40;

/** What a look at a template is worth, even where the URI begins otherwise. */
const LOOK = 4;

/** What a place in a URI is worth where the next piece may begin, and so many characters that are searched for a slash. */
const PLACE = 4;
const SEARCHED = 32;
/** And so many that are compared to find a text: as many times its length as the URI has characters, at worst. */
const COMPARED = 64;

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

/** Places in a URI, as pairs of the first and the last of those that follow each other. */
type Places = number[];

/**
 * Whether a URI can be an expansion of the template. One pass over the URI for each piece: a server's template cannot make it
 * take longer, as a regular expression's could. When `work` is used up, nothing fits any more.
 */
export function fits({ pieces }: UriTemplate, uri: string, work: Work): boolean {
  work.left -= LOOK;
  // Of a longer one no resource can be read.
  if (work.left < 0 || uri.length > MAX_URI_LENGTH) return false;
  const first = pieces[0];
  const last = pieces.at(-1);
  if (first?.text !== undefined && !uri.startsWith(first.text)) return false;
  if (last?.text !== undefined && !uri.endsWith(last.text)) return false;
  if (pieces.length > 2 * MAX_EXPRESSIONS + 1) return false;
  // Where the next piece may begin.
  let places: Places = [0, 0];
  for (const piece of pieces) {
    if (piece.text === undefined) places = expanded(uri, piece, places, work);
    else if (piece === first) places = [piece.text.length, piece.text.length];
    else places = behindText(uri, piece.text, places, work);
    if (places.length === 0 || work.left < 0) return false;
  }
  return places.at(-1) === uri.length;
}

/** Behind each `text` that begins at one of the places. */
function behindText(uri: string, text: string, places: Places, work: Work): Places {
  const behind: Places = [];
  work.left -= (uri.length * text.length) / COMPARED;
  if (work.left < 0) return behind;
  let at = -1;
  for (let i = 0; i < places.length; i += 2) {
    const [from, to] = [places[i] as number, places[i + 1] as number];
    if (at < from) at = uri.indexOf(text, from);
    for (; at >= 0 && at <= to; at = uri.indexOf(text, at + 1)) {
      work.left -= PLACE + text.length / SEARCHED;
      if (work.left < 0) return behind;
      behind.push(at + text.length, at + text.length);
    }
    if (at < 0) break;
  }
  return behind;
}

/** Behind what an expression may stand for that begins at one of the places: a character or more, where it is not optional. */
function expanded(uri: string, piece: Piece & { text?: undefined }, places: Places, work: Work): Places {
  const behind: Places = [];
  const add = (from: number, to: number): void => {
    work.left -= PLACE;
    const before = behind.length - 1;
    if (before > 0 && from <= (behind[before] as number) + 1) behind[before] = Math.max(to, behind[before] as number);
    else if (from <= to) behind.push(from, to);
  };
  work.left -= uri.length / SEARCHED;
  const [least] = places as [number];
  if (piece.slashes) {
    add(piece.optional ? least : least + 1, uri.length);
    return behind;
  }
  // The first slash behind the place.
  let slash = -1;
  for (let i = 0; i < places.length && work.left >= 0; i += 2) {
    const to = places[i + 1] as number;
    for (let at = places[i] as number; at <= to && work.left >= 0; at = slash + 1) {
      if (slash < at) slash = uri.indexOf('/', at);
      if (slash < 0) slash = uri.length;
      add(piece.optional ? at : at + 1, slash);
    }
  }
  return behind;
}
