import { show } from '../show.js';
import { PoolkitError } from './PoolkitError.js';

/** Errors of calls that never ran, and that are not worth repeating as they are. */

/** The part was closed, or closed while the caller waited. Nothing was sent. */
export class ClosedError extends PoolkitError {
  readonly what: string;
  constructor(what: string, cause?: unknown) {
    super('ERR_CLOSED', `${what} is closed`, cause);
    this.what = what;
  }
}

/** An option or argument is not what was expected. Names the option, the value and the range. */
export class OptionError extends PoolkitError {
  readonly option: string;
  readonly value: unknown;
  readonly expected: string;
  constructor(option: string, value: unknown, expected: string, cause?: unknown) {
    super('ERR_OPTION', `option ${option}: got ${show(value)}, expected ${expected}`, cause);
    this.option = option;
    this.value = value;
    this.expected = expected;
  }
}

/** No server of that name is registered. `near` lists the closest names that are. */
export class ServerNotFoundError extends PoolkitError {
  readonly server: string;
  readonly near: readonly string[];
  constructor(server: string, near: readonly string[] = []) {
    super(
      'ERR_SERVER_NOT_FOUND',
      `no server named ${show(server)}${near.length > 0 ? `; did you mean ${near.map(show).join(', ')}?` : ''}`,
    );
    this.server = server;
    this.near = near;
  }
}

/** The server was stopped on purpose and stays so until it is started again. */
export class ServerStoppedError extends PoolkitError {
  readonly server: string;
  constructor(server: string) {
    super('ERR_SERVER_STOPPED', `server ${show(server)} was stopped; start it again to use it`);
    this.server = server;
  }
}

/** The upstream answered 401 and the credentials hook had nothing better; or there is nothing to show it at all: `why` then. */
export class UnauthorizedError extends PoolkitError {
  readonly server: string;
  /** The `WWW-Authenticate` header, when one came. */
  readonly challenge: string | undefined;
  constructor(
    server: string,
    refused?: string | { readonly why: string; readonly challenge?: string },
    cause?: unknown,
  ) {
    const own = typeof refused === 'object' ? refused : { challenge: refused };
    super('ERR_UNAUTHORIZED', 'why' in own ? own.why : `server ${show(server)} wants other credentials (401)`, cause);
    this.server = server;
    this.challenge = own.challenge;
  }
}

/** Longest part of a `SignInError` that may be words of others. */
const MAX_WHY = 1_024;

/**
 * Signing in to a server, or renewing what a sign-in gave, went wrong on the way: nothing was sent to the server itself.
 * What it says is 1,024 characters long at most.
 */
export class SignInError extends PoolkitError {
  readonly server: string;
  constructor(server: string, why: string, cause?: unknown) {
    const said = why.length > MAX_WHY ? `${why.slice(0, MAX_WHY - 3)}...` : why;
    super('ERR_SIGN_IN', `signing in to server ${show(server)}: ${said}`, cause);
    this.server = server;
  }
}

/** The upstream answered 403, or a rule of this side refuses the call: `why` then. */
export class ForbiddenError extends PoolkitError {
  readonly server: string;
  readonly challenge: string | undefined;
  /** Of a refusal of this side: the scope that would do. */
  readonly scope: string | undefined;
  constructor(
    server: string,
    refused?: string | { readonly why: string; readonly scope?: string; readonly challenge?: string },
    cause?: unknown,
  ) {
    const own = typeof refused === 'object' ? refused : { challenge: refused };
    super('ERR_FORBIDDEN', 'why' in own ? own.why : `server ${show(server)} refuses these credentials (403)`, cause);
    this.server = server;
    this.challenge = own.challenge;
    this.scope = 'why' in own ? own.scope : undefined;
  }
}
