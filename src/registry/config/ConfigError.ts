import { OptionError, show } from '../../core/errors.js';
import { nearNames } from '../../core/nearNames.js';

/** Where in a config file something stands. */
export interface ConfigPlace {
  /** The file, as the user named it. */
  readonly file: string;
  /** The server's name; undefined when the trouble is the file's own. */
  readonly server?: string | undefined;
  /** Path of the field inside the server's entry (`env.TOKEN`, `args.1`) or the file; undefined for the whole of it. */
  readonly field?: string | undefined;
  /** Its line, from 1; undefined where it is not known. */
  readonly line?: number | undefined;
}

/** `mcp.json: server "files", field args.1` */
export function describePlace({ file, server, field }: ConfigPlace): string {
  const where = [server === undefined ? '' : `server ${show(server)}`, field === undefined ? '' : `field ${field}`];
  const inside = where.filter((each) => each !== '').join(', ');
  return inside === '' ? file : `${file}: ${inside}`;
}

/** One line: where, what is wrong there, and on which line. */
export function describeAt(place: ConfigPlace, why: string): string {
  return `${describePlace(place)}: ${why}${place.line === undefined ? '' : ` (line ${place.line})`}`;
}

/**
 * What is wrong at one place of a config file, in one line: file, server, field, what was expected, line. The code is
 * `ERR_OPTION`. Values that may be secrets (`env`, `headers`) are never shown.
 */
export class ConfigError extends OptionError {
  readonly file: string;
  readonly server: string | undefined;
  readonly field: string | undefined;
  /** From 1. */
  readonly line: number | undefined;

  constructor(place: ConfigPlace, why: string, value?: unknown, cause?: unknown) {
    super(place.field ?? place.server ?? place.file, value, why, cause);
    this.message = describeAt(place, why);
    this.file = place.file;
    this.server = place.server;
    this.field = place.field;
    this.line = place.line;
  }
}

/** Fields of other programs are left alone; one that is nearly a field of ours is a slip of the pen. */
export function notUsed(field: string, known: ReadonlySet<string>): string {
  const near = nearNames(field, known);
  return near.length === 0 ? 'not used here' : `not used here: did you mean ${near.map(show).join(' or ')}?`;
}
