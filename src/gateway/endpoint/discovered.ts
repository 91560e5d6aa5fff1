import type { ServerCapabilities } from '@modelcontextprotocol/client';
import { META_SERVER_INFO } from '../../connection/protocol/metaKeys.js';
import { MODERN_VERSIONS } from '../../connection/protocol/versions.js';
import type { EndpointInfo } from './Endpoint.js';

/** The answer to `server/discover` for what is not modern itself. Tasks of the legacy era are not those of the modern one. */
export function discovered({
  capabilities,
  serverInfo,
  instructions,
}: EndpointInfo): Readonly<Record<string, unknown>> {
  const { tasks: _, ...told } = capabilities as ServerCapabilities & { readonly tasks?: unknown };
  return {
    supportedVersions: [...MODERN_VERSIONS],
    capabilities: told,
    ...(instructions === undefined ? {} : { instructions }),
    _meta: { [META_SERVER_INFO]: serverInfo },
  };
}
