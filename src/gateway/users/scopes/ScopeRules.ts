import { ForbiddenError, OptionError, show } from '../../../core/errors.js';
import { checkNames, type Names } from '../../../core/options.js';
import { matches, passes } from '../../../core/text/matches.js';
import { MAX_LABEL_LENGTH } from '../../rpc/limits.js';

/** What a scope opens. `*` stands for any text. */
export interface ScopeRule {
  /** The servers that users with the scope may use at all: their resources, prompts, logs, and of their tools what the rest says. */
  readonly servers: readonly string[];
  /** Tools of those servers that it opens, by their own names. @defaultValue all */
  readonly allow?: readonly string[];
  /** Tools that this scope does not open, in whatever case and with whatever blanks in it, whatever `allow` says; another may. @defaultValue none */
  readonly deny?: readonly string[];
}

interface CheckedRule extends ScopeRule {
  /** What is denied, as names are compared with it. */
  readonly plainDeny: readonly string[] | undefined;
}

const FIELDS: Names<ScopeRule> = { servers: true, allow: true, deny: true };
/** What a scope may be (RFC 6749, 3.3). */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

/** What a user may do, by the scopes that the request's own token has. */
export interface Access {
  /** Whether a server is theirs to use. */
  opens(server: string): boolean;
  /** Whether a tool, by its own name, is theirs to call. */
  shows(server: string, tool: string): boolean;
  /** @throws ForbiddenError with the scope that would do, for what is not theirs */
  check(server: string, tool?: string): void;
}

/** Scopes to what they open: what no scope of a user opens is closed to them. */
export class ScopeRules {
  readonly #rules: readonly (readonly [string, CheckedRule])[];
  readonly #metadataUrl: string | undefined;

  /** `metadataUrl`: where clients learn where tokens come from. @throws OptionError */
  constructor(rules: Readonly<Record<string, ScopeRule>>, metadataUrl: string | undefined) {
    if (typeof rules !== 'object' || rules === null) throw new OptionError('scopes', rules, 'rules by scope');
    this.#rules = Object.entries(rules).map(([scope, rule]) => [scope, checkRule(scope, rule)]);
    this.#metadataUrl = metadataUrl;
  }

  /** Of a user with those scopes. */
  of(scopes: readonly string[]): Access {
    const own = new Set(scopes);
    const mine = this.#rules.filter(([scope]) => own.has(scope)).map(([, rule]) => rule);
    const opens = (server: string): boolean => mine.some((rule) => holds(rule, server));
    const shows = (server: string, tool: string): boolean =>
      mine.some((rule) => holds(rule, server) && opensTool(rule, tool));
    return {
      opens,
      shows,
      check: (server, tool) => {
        if (tool === undefined ? !opens(server) : !shows(server, tool)) throw this.#refusal(server, tool);
      },
    };
  }

  /** The scope that would do is named: the first of the rules that opens it. */
  #refusal(server: string, tool: string | undefined): ForbiddenError {
    const [scope] =
      this.#rules.find(([, rule]) => holds(rule, server) && (tool === undefined || opensTool(rule, tool))) ?? [];
    const what = tool === undefined ? `server ${show(server)}` : `tool ${show(tool)} of server ${show(server)}`;
    if (scope === undefined) return new ForbiddenError(server, { why: `${what} is opened by no scope` });
    const why = `${what} needs the scope ${show(scope)}`;
    return new ForbiddenError(server, { why, scope, challenge: scopeChallenge(scope, this.#metadataUrl) });
  }
}

/** What a client is told whose token lacks a scope (RFC 6750, 3.1; MCP authorization, runtime insufficient scope). */
export function scopeChallenge(scope: string | undefined, metadataUrl: string | undefined): string {
  const parts = [
    'error="insufficient_scope"',
    ...(scope !== undefined && SCOPE.test(scope) ? [`scope="${scope}"`] : []),
    ...(metadataUrl === undefined ? [] : [`resource_metadata="${metadataUrl}"`]),
  ];
  return `Bearer ${parts.join(', ')}`;
}

/** Status and headers of a response that is this refusal alone; undefined for an error that is no lack of a scope. */
export function scopeStatus(
  error: unknown,
): { readonly status: 403; readonly headers: Record<string, string> } | undefined {
  if (!(error instanceof ForbiddenError) || error.scope === undefined) return undefined;
  return { status: 403, headers: { 'www-authenticate': error.challenge ?? scopeChallenge(error.scope, undefined) } };
}

const holds = (rule: ScopeRule, server: string): boolean => rule.servers.some((pattern) => matches(pattern, server));

/** A lax server takes a name in other letters for one that is denied: none that is too long to be looked at so is opened. */
function opensTool(rule: CheckedRule, tool: string): boolean {
  const { plainDeny } = rule;
  if (plainDeny === undefined) return passes(tool, rule);
  return tool.length <= MAX_LABEL_LENGTH && passes(tool, rule) && passes(plain(tool), { deny: plainDeny });
}

/** Without case, width, blanks and what is not seen. */
const plain = (name: string): string =>
  name
    .normalize('NFKC')
    .replace(/[\s\p{C}]/gu, '')
    .toLowerCase();

function checkRule(scope: string, rule: ScopeRule): CheckedRule {
  const option = `scopes[${show(scope)}]`;
  if (!SCOPE.test(scope)) throw new OptionError(option, scope, 'a scope of RFC 6749: no spaces, quotes or backslashes');
  if (typeof rule !== 'object' || rule === null) throw new OptionError(option, rule, 'an object with servers');
  checkNames(option, rule, FIELDS);
  for (const field of ['servers', 'allow', 'deny'] as const) {
    const list = rule[field];
    if (list === undefined && field !== 'servers') continue;
    if (!Array.isArray(list) || list.some((each) => typeof each !== 'string' || each === '')) {
      throw new OptionError(`${option}.${field}`, list, 'an array of names, * for any text');
    }
  }
  return { ...rule, plainDeny: rule.deny?.map(plain) };
}
