/** What clients see of one server's tools. Names are the server's own; `*` in them stands for any text. */
export interface ToolRules {
  /** Only these are shown and can be called. @defaultValue all */
  readonly allow?: readonly string[];
  /** These are not, whatever `allow` says. @defaultValue none */
  readonly deny?: readonly string[];
  /** Other names, by the server's own. @defaultValue none */
  readonly rename?: Readonly<Record<string, string>>;
  /** Other descriptions, by the server's own names. @defaultValue none */
  readonly describe?: Readonly<Record<string, string>>;
  /** Arguments that every call gets, by tool: clients neither see nor set them. @defaultValue none */
  readonly fixed?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Arguments that clients neither see nor set, by tool. @defaultValue none */
  readonly hide?: Readonly<Record<string, readonly string[]>>;
}

/** Some servers, or some of their tools, at a path of their own: `/groups/<name>/mcp`. */
export interface ToolGroup {
  /** The servers that are in it. @defaultValue all */
  readonly servers?: readonly string[];
  /** Tools by the names that clients know, `*` for any text: only these. @defaultValue all */
  readonly allow?: readonly string[];
  /** These are not in it, whatever `allow` says. @defaultValue none */
  readonly deny?: readonly string[];
  /** As for all servers together. @defaultValue the same as there */
  readonly expose?: 'all' | 'search';
}

/** What clients see of all that the servers offer, and under which names. */
export interface Curation {
  /** By server. @defaultValue none: all as it is */
  readonly servers?: Readonly<Record<string, ToolRules>>;
  /** By the name that is in their path. @defaultValue none */
  readonly groups?: Readonly<Record<string, ToolGroup>>;
  /**
   * How names begin: `server__tool`, `server.tool`, or `none`, which leaves the server away where the rules of one server alone name
   * the tool (in `allow`, or as a new name), and is `server__tool` for the others.
   * @defaultValue 'server__tool'
   */
  readonly prefix?: 'server__tool' | 'server.tool' | 'none';
  /** `search`: three tools to find, read and call the others, in place of them. @defaultValue 'all' */
  readonly expose?: 'all' | 'search';
}
