import { META_SERVER_INFO } from '../../connection/protocol/metaKeys.js';
import { MODERN_VERSIONS } from '../../connection/protocol/versions.js';
import type { EndpointInfo } from './Endpoint.js';

/** The answer to `server/discover` for what is not modern itself. */
export function discovered({
  capabilities,
  serverInfo,
  instructions,
}: EndpointInfo): Readonly<Record<string, unknown>> {
  return {
    supportedVersions: [...MODERN_VERSIONS],
    capabilities,
    ...(instructions === undefined ? {} : { instructions }),
    _meta: { [META_SERVER_INFO]: serverInfo },
  };
}
