import { fakeServer } from '../../src/testing/index.js';

/**
 * A real server over HTTP in a process of its own: `serve.js NAME PORT SERVICE_MS FAILING EVENTS_FILE`. Of its calls the share
 * FAILING fails: half of those with 503 and no effect, half with a reset after the tool ran.
 */
const [name = '', port = '0', serviceMs = '0', failing = '0', eventsFile = ''] = process.argv.slice(2);
const share = Number(failing);
const rule = { method: 'tools/call' } as const;
const server = fakeServer({
  name,
  tools: { read: {} },
  serviceMs: Number(serviceMs),
  eventsFile,
  ...(share > 0 && {
    plan: {
      seed: 1,
      rules: [
        { ...rule, fault: 'status', status: 503, probability: share / 2 },
        // Of those that are left.
        { ...rule, fault: 'resetAfterHeaders', probability: share / 2 / (1 - share / 2) },
      ],
    },
  }),
});
const { url } = await server.listen({ port: Number(port) });
process.stdout.write(`${url}\n`);
process.stdin.resume().once('end', () => process.exit(0));
