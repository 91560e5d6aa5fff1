const VERSION = '2026-07-28';
export const META = 'io.modelcontextprotocol';
export const META_OF_ANYONE = {
  [`${META}/protocolVersion`]: VERSION,
  [`${META}/clientCapabilities`]: { elicitation: {} },
};

/** Headers of a request of the modern era. */
export const headersOf = (method: string, name?: string): Record<string, string> => ({
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  'mcp-protocol-version': VERSION,
  'mcp-method': method,
  ...(name === undefined ? {} : { 'mcp-name': name }),
});
