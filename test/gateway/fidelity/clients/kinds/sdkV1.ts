import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  PromptListChangedNotificationSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { ANSWERS, CAPABILITIES, type ClientKind, type ConnectOptions, type Face, questionOf } from '../Face.js';
import { Tap } from '../Tap.js';
import { afterwards } from './sdkV2.js';

/** A client of the SDK's first line over `transport`. */
export async function faceOfV1(transport: Transport, more: Partial<Face> = {}): Promise<Face> {
  const client = new Client({ name: 'fidelity', version: '1' }, { capabilities: CAPABILITIES });
  const asked: unknown[] = [];
  client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => {
    asked.push({ sampling: questionOf(params) });
    return ANSWERS.sample(params) as never;
  });
  client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
    asked.push({ elicitation: questionOf(params) });
    return ANSWERS.elicit(params.message) as never;
  });
  client.setRequestHandler(ListRootsRequestSchema, () => {
    asked.push({ roots: true });
    return ANSWERS.roots as never;
  });
  const heard = { logs: [] as unknown[], changes: [] as string[], updates: [] as string[] };
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void heard.logs.push(params));
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void heard.updates.push(params.uri));
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => void heard.changes.push('tools'));
  client.setNotificationHandler(PromptListChangedNotificationSchema, () => void heard.changes.push('prompts'));
  await client.connect(transport);
  return {
    connected: {
      capabilities: client.getServerCapabilities(),
      server: client.getServerVersion(),
      instructions: client.getInstructions(),
    },
    modern: false,
    heard,
    asked,
    list: (what) =>
      ({
        tools: () => client.listTools(),
        resources: () => client.listResources(),
        resourceTemplates: () => client.listResourceTemplates(),
        prompts: () => client.listPrompts(),
      })[what](),
    call: (name, args, { onProgress, signal, timeoutMs } = {}) =>
      client.callTool({ name, arguments: args as Record<string, unknown> }, undefined, {
        ...(onProgress && { onprogress: onProgress }),
        ...(signal && { signal }),
        ...(timeoutMs && { timeout: timeoutMs }),
      }),
    read: (uri) => client.readResource({ uri }),
    prompt: (name, args) => client.getPrompt({ name, arguments: args }),
    complete: (prompt, name, value) =>
      client.complete({ ref: { type: 'ref/prompt', name: prompt }, argument: { name, value } }),
    setLevel: (level) => client.setLoggingLevel(level as 'info'),
    subscribe: async (uri) => {
      await client.subscribeResource({ uri });
      return () => client.unsubscribeResource({ uri });
    },
    followLists: async () => async () => undefined,
    ping: () => client.ping(),
    close: async () => {
      await client.close();
      return 'closed';
    },
    ...more,
  };
}

export const SDK_V1: ClientKind = {
  name: 'SDK v1',
  connect: async (url, { silenceMs }: ConnectOptions = {}) => {
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
    const close = async (): Promise<unknown> => {
      const { sessionId } = transport;
      if (sessionId !== undefined) await transport.terminateSession();
      await transport.close();
      await tap.close();
      return sessionId === undefined ? 'no session' : afterwards(url, sessionId);
    };
    return faceOfV1(transport as Transport, { tap, close });
  },
};
