import { watch } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';

let open = false;

/**
 * Has the event loop open what it opens once and keeps for ever: its reserve against running out of descriptors
 * (`/dev/null`, with its first stream), and what it watches files through (with its first watcher). A check of descriptors
 * would take them for leaks of what came first.
 */
export function openLoopDescriptors(): void {
  if (open || process.platform !== 'linux') return;
  open = true;
  // A name that is in no file system; the loop's descriptor stays when the server has gone.
  const server = createServer().on('error', () => undefined);
  server.listen({ path: `\0mcp-poolkit-${process.pid}-${performance.now()}` });
  server.close();
  try {
    watch(tmpdir()).close();
  } catch {
    // no watchers left on this machine: then no descriptor comes later either
  }
}
