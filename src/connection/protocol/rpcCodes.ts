/** JSON-RPC error codes, by the names that JSON-RPC 2.0 and MCP give them. */
export const RPC_CODES = Object.freeze({
  parseError: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internalError: -32603,
  /** What SDKs answer to a session they do not know, next to other things. */
  serverError: -32000,
  /** Legacy era. */
  resourceNotFound: -32002,
  /** The headers of a request do not agree with its body (2026-07-28, Streamable HTTP). */
  headerMismatch: -32020,
  /** 2026-07-28, errors. */
  missingClientCapability: -32021,
  /** Its data names the versions that the server speaks (2026-07-28, errors). */
  unsupportedVersion: -32022,
  /** Legacy era: the client must open a URL first (2025-11-25, elicitation). */
  urlElicitationRequired: -32042,
});
