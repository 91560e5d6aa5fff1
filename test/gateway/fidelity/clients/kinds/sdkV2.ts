import { Client, StreamableHTTPClientTransport, type Transport } from '@modelcontextprotocol/client';
import { ANSWERS, CAPABILITIES, type ClientKind, type ConnectOptions, type Face, questionOf } from '../Face.js';
import { Tap } from '../Tap.js';

const LOG_LEVEL = 'io.modelcontextprotocol/logLevel';
const CHANGES = ['tools', 'prompts', 'resources'] as const;

type Mode = 'legacy' | 'auto' | { readonly pin: string };

const answering = (client: Client, asked: unknown[]): void => {
  client.setRequestHandler('sampling/createMessage', ({ params }) => {
    asked.push({ sampling: questionOf(params) });
    return ANSWERS.sample(params) as never;
  });
  client.setRequestHandler('elicitation/create', ({ params }) => {
    asked.push({ elicitation: questionOf(params) });
    return ANSWERS.elicit(String(params.message)) as never;
  });
  client.setRequestHandler('roots/list', () => {
    asked.push({ roots: true });
    return ANSWERS.roots as never;
  });
};

async function connect(mode: Mode, url: string, { silenceMs }: ConnectOptions = {}): Promise<Face> {
  const client = new Client(
    { name: 'fidelity', version: '2' },
    { versionNegotiation: { mode }, capabilities: CAPABILITIES },
  );
  const asked: unknown[] = [];
  answering(client, asked);
  const heard = { logs: [] as unknown[], changes: [] as string[], updates: [] as string[] };
  client.setNotificationHandler('notifications/message', ({ params }) => void heard.logs.push(params));
  client.setNotificationHandler('notifications/resources/updated', ({ params }) => void heard.updates.push(params.uri));
  for (const kind of CHANGES) {
    client.setNotificationHandler(`notifications/${kind}/list_changed`, () => void heard.changes.push(kind));
  }
  const tap = new Tap(silenceMs);
  const transport = new StreamableHTTPClientTransport(new URL(url), {
    fetch: tap.fetch as never,
    reconnectionOptions: {
      initialReconnectionDelay: 20,
      maxReconnectionDelay: 1_000,
      reconnectionDelayGrowFactor: 2,
      maxRetries: 10,
    },
  });
  await client.connect(transport as Transport);
  const modern = client.getProtocolEra() === 'modern';
  return {
    connected: {
      version: client.getNegotiatedProtocolVersion(),
      capabilities: client.getServerCapabilities(),
      server: client.getServerVersion(),
      instructions: client.getInstructions(),
    },
    modern,
    heard,
    asked,
    tap,
    list: (what) =>
      ({
        tools: () => client.listTools(),
        resources: () => client.listResources(),
        resourceTemplates: () => client.listResourceTemplates(),
        prompts: () => client.listPrompts(),
      })[what](),
    call: (name, args, { onProgress, signal, timeoutMs, logLevel } = {}) =>
      client.callTool(
        {
          name,
          arguments: args as Record<string, unknown>,
          ...(modern && logLevel !== undefined && { _meta: { [LOG_LEVEL]: logLevel } }),
        },
        {
          ...(onProgress && { onprogress: onProgress }),
          ...(signal && { signal }),
          ...(timeoutMs && { timeout: timeoutMs }),
        },
      ),
    read: (uri) => client.readResource({ uri }),
    prompt: (name, args) => client.getPrompt({ name, arguments: args }),
    complete: (prompt, name, value) =>
      client.complete({ ref: { type: 'ref/prompt', name: prompt }, argument: { name, value } }),
    setLevel: (level) => client.setLoggingLevel(level as 'info'),
    subscribe: async (uri) => {
      if (!modern) {
        await client.subscribeResource({ uri });
        return () => client.unsubscribeResource({ uri });
      }
      const subscription = await client.listen({ resourceSubscriptions: [uri] });
      return () => subscription.close();
    },
    followLists: async () => {
      if (!modern) return async () => undefined;
      const subscription = await client.listen({ toolsListChanged: true, promptsListChanged: true });
      return () => subscription.close();
    },
    ping: () => client.ping(),
    close: async () => {
      const { sessionId } = transport;
      if (sessionId !== undefined) await transport.terminateSession();
      await client.close();
      await tap.close();
      return sessionId === undefined ? 'no session' : afterwards(url, sessionId);
    },
  };
}

/** What the server says to a session that was ended. */
export async function afterwards(url: string, session: string): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-session-id': session,
      'mcp-protocol-version': '2025-11-25',
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' }),
  });
  await response.arrayBuffer();
  return response.status;
}

export const SDK_V2: readonly ClientKind[] = [
  { name: 'SDK v2, legacy', connect: (url, options) => connect('legacy', url, options) },
  { name: 'SDK v2, auto', connect: (url, options) => connect('auto', url, options) },
  { name: 'SDK v2, 2026-07-28', connect: (url, options) => connect({ pin: '2026-07-28' }, url, options) },
];
