import type {
  CallToolResult,
  CompleteResult,
  DiscoverResult,
  EmptyResult,
  GetPromptResult,
  ListPromptsResult,
  ListResourcesResult,
  ListResourceTemplatesResult,
  ListToolsResult,
  ReadResourceResult,
} from '@modelcontextprotocol/client';

/**
 * The result of each request that a client makes, of both eras. What a server answers is passed on as it is: the types
 * say what the protocol promises, and nothing is validated. In the modern era a result may say `resultType:
 * 'input_required'` in place of its content. An extension's methods can be added by declaration merging.
 */
export interface MethodMap {
  readonly ping: EmptyResult;
  readonly 'server/discover': DiscoverResult;
  readonly 'tools/list': ListToolsResult;
  readonly 'tools/call': CallToolResult;
  readonly 'prompts/list': ListPromptsResult;
  readonly 'prompts/get': GetPromptResult;
  readonly 'resources/list': ListResourcesResult;
  readonly 'resources/templates/list': ListResourceTemplatesResult;
  readonly 'resources/read': ReadResourceResult;
  readonly 'resources/subscribe': EmptyResult;
  readonly 'resources/unsubscribe': EmptyResult;
  readonly 'completion/complete': CompleteResult;
  readonly 'logging/setLevel': EmptyResult;
}

/** What a request of method `M` resolves to: `unknown` for a method that the protocol does not have. */
export type ResultOf<M extends string> = M extends keyof MethodMap ? MethodMap[M] : unknown;
