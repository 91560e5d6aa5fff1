import { homedir } from 'node:os';
import { join } from 'node:path';

/** A place where a client keeps its servers. */
export interface KnownConfig {
  readonly client: string;
  readonly file: string;
  /** Where in the file they are, if not where any config has them; a file without that table has none. */
  readonly table?: readonly string[];
}

/** Where known clients keep their servers, for this user and in `folder`, the ones of the folder first. */
export function knownConfigs(
  folder: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
  platform: NodeJS.Platform = process.platform,
): KnownConfig[] {
  const home = env['HOME'] ?? env['USERPROFILE'] ?? homedir();
  const settings =
    platform === 'darwin'
      ? join(home, 'Library/Application Support')
      : platform === 'win32'
        ? (env['APPDATA'] ?? join(home, 'AppData/Roaming'))
        : (env['XDG_CONFIG_HOME'] ?? join(home, '.config'));
  const own = platform === 'win32' ? settings : (env['XDG_CONFIG_HOME'] ?? join(home, '.config'));
  const claude = { client: 'claude-code', file: join(home, '.claude.json') };
  return [
    // What `claude mcp add` writes by default.
    { ...claude, table: ['projects', folder, 'mcpServers'] },
    { client: 'claude-code', file: join(folder, '.mcp.json') },
    { client: 'vscode', file: join(folder, '.vscode/mcp.json') },
    { client: 'cursor', file: join(folder, '.cursor/mcp.json') },
    { client: 'gemini', file: join(folder, '.gemini/settings.json') },
    ...opencode(join(folder, '.opencode')),
    ...opencode(folder),
    { client: 'claude', file: join(settings, 'Claude/claude_desktop_config.json') },
    { ...claude, table: ['mcpServers'] },
    { client: 'vscode', file: join(settings, 'Code/User/mcp.json') },
    { client: 'cursor', file: join(home, '.cursor/mcp.json') },
    { client: 'windsurf', file: join(home, '.codeium/windsurf/mcp_config.json') },
    { client: 'zed', file: join(own, 'zed/settings.json') },
    { client: 'codex', file: join(env['CODEX_HOME'] ?? join(home, '.codex'), 'config.toml') },
    { client: 'gemini', file: join(home, '.gemini/settings.json') },
    ...opencode(join(own, 'opencode')),
    { client: 'copilot', file: join(home, '.copilot/mcp-config.json') },
    { client: 'lmstudio', file: join(home, '.lmstudio/mcp.json') },
  ];
}

/** Most of these hold other settings alone. */
const opencode = (folder: string): KnownConfig[] =>
  ['opencode.jsonc', 'opencode.json'].map((name) => ({ client: 'opencode', file: join(folder, name), table: ['mcp'] }));
