/** Keys that the modern era reserves in `_meta` (2026-07-28). */
const META = 'io.modelcontextprotocol';
export const META_PROTOCOL_VERSION = `${META}/protocolVersion`;
export const META_CLIENT_INFO = `${META}/clientInfo`;
export const META_CLIENT_CAPABILITIES = `${META}/clientCapabilities`;
export const META_LOG_LEVEL = `${META}/logLevel`;
export const META_SERVER_INFO = `${META}/serverInfo`;
/** Of both eras since 2025-11-25: the task that a message belongs to. */
export const META_RELATED_TASK = `${META}/related-task`;
