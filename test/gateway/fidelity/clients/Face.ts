import type { Tap } from './Tap.js';

/** What a call may have besides its arguments. */
export interface CallOptions {
  readonly onProgress?: (progress: unknown) => void;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  /** The level of the log messages the client wants of this call, where its era has no `logging/setLevel`. */
  readonly logLevel?: string;
}

/** What all official clients can do, in one shape; results are as the client gives them to its user. */
export interface Face {
  /** What the client learned as it connected. */
  readonly connected: Record<string, unknown>;
  readonly modern: boolean;
  /** What has come of its own, in order of arrival. */
  readonly heard: { readonly logs: unknown[]; readonly changes: string[]; readonly updates: string[] };
  /** What the server has asked of this client, in order of arrival. */
  readonly asked: unknown[];
  /** The client's own HTTP, where it has one in this process. */
  readonly tap?: Tap;
  list(what: 'tools' | 'resources' | 'resourceTemplates' | 'prompts'): Promise<object>;
  call(name: string, args: object, options?: CallOptions): Promise<object>;
  read(uri: string): Promise<object>;
  prompt(name: string, args: Record<string, string>): Promise<object>;
  complete(prompt: string, argument: string, value: string): Promise<object>;
  setLevel(level: string): Promise<object>;
  /** Resolves to what ends the subscription. */
  subscribe(uri: string): Promise<() => Promise<unknown>>;
  /** From now on changes of lists are told; resolves to what ends that. */
  followLists(): Promise<() => Promise<unknown>>;
  ping(): Promise<object>;
  /** Ends the session where there is one; resolves to what the server says to a request of that session afterwards. */
  close(): Promise<unknown>;
}

export interface ConnectOptions {
  /** The client's HTTP gives up a response without a sign of life for so long. @defaultValue that of `fetch`, 300 s */
  readonly silenceMs?: number;
}

/** A way to make such a client. */
export interface ClientKind {
  readonly name: string;
  connect(url: string, options?: ConnectOptions): Promise<Face>;
}

/** What the server asked, without the count of its own requests. */
export const questionOf = (params: unknown): unknown => {
  const { _meta: { progressToken: _, ...meta } = {}, ...question } = (params ?? {}) as {
    _meta?: Record<string, unknown>;
  };
  return { ...question, ...(Object.keys(meta).length > 0 && { _meta: meta }) };
};

/** What each client answers when it is asked. */
export const ANSWERS = {
  sample: (params: unknown): object => ({
    role: 'assistant',
    model: 'test-model',
    content: { type: 'text', text: `sampled ${JSON.stringify(params).length > 0}` },
  }),
  elicit: (message: string): object => ({
    action: 'accept',
    content: message.includes('color')
      ? { color: 'blue' }
      : { name: 'Eve', username: 'eve', email: 'e@x.test', ok: true },
  }),
  roots: { roots: [{ uri: 'file:///here', name: 'here' }] },
} as const;

export const CAPABILITIES = { sampling: {}, elicitation: {}, roots: { listChanged: true } };
