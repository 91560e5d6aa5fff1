import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import type { ClientKind } from '../Face.js';
import { NODE, REMOTE } from './programs.js';
import { faceOfV1 } from './sdkV1.js';

/** An SDK v1 client whose stdio goes through mcp-remote. */
export const MCP_REMOTE: ClientKind = {
  name: 'mcp-remote',
  connect: (url) => {
    const args = [REMOTE, url, '--allow-http', '--transport', 'http-only'];
    return faceOfV1(new StdioClientTransport({ command: NODE, args, stderr: 'ignore' }));
  },
};
