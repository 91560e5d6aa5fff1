/** Through which door an input comes. */
export type Front = 'listen' | 'handler' | 'fetch' | 'sse';

/** One thing sent to a front. */
export interface Input {
  readonly seed: number;
  readonly front: Front;
  readonly method: string;
  readonly path: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
  /** The version of the session it is sent in; `SESSION` in a header's value stands for its id. */
  readonly version: string;
  /** Its headers are not those of a well-behaved client. */
  readonly odd: boolean;
  /** Bytes as they go over the socket, a write each; the rest does not count then. */
  readonly raw?: readonly Buffer[];
}

export const SESSION = '{session}';

/** What came of it. */
export interface Observed {
  /** 0: the connection was closed without an answer. */
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly hung: boolean;
  /** The id of a session that it opened. */
  readonly session?: string | undefined;
}

/** An input as it is kept in seeds.json: its bytes stay the same when what makes inputs is changed. */
export interface KeptInput extends Omit<Input, 'body' | 'raw'> {
  readonly body: string;
  readonly raw?: readonly string[];
  /** What was wrong. */
  readonly found: string;
}

export function keptOf(input: Input, found: string): KeptInput {
  const { body, raw, ...rest } = input;
  const bytes = raw === undefined ? {} : { raw: raw.map((piece) => piece.toString('base64')) };
  return { found, ...rest, body: body.toString('base64'), ...bytes };
}

export function inputOf({ body, raw, found: _, ...rest }: KeptInput): Input {
  const bytes = raw === undefined ? {} : { raw: raw.map((piece) => Buffer.from(piece, 'base64')) };
  return { ...rest, body: Buffer.from(body, 'base64'), ...bytes };
}
