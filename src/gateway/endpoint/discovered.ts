import { META_SERVER_INFO } from '../../connection/protocol/metaKeys.js';
import { MODERN_VERSIONS } from '../../connection/protocol/versions.js';
import { inTurnOrNow } from '../../core/time/turns.js';
import { modernResult } from '../bridge/resultText.js';
import type { EndpointInfo } from './Endpoint.js';

const ofDiscover = new WeakMap<EndpointInfo, Buffer>();
const ofInitialize = new WeakMap<EndpointInfo, Buffer>();

/** The answer to `server/discover` for what is not modern itself, as JSON: its bytes are shared by all answers. */
export function discovered(info: EndpointInfo): Buffer | Promise<Buffer> {
  const { capabilities, serverInfo, instructions } = info;
  const value = () => ({
    supportedVersions: [...MODERN_VERSIONS],
    capabilities,
    ...(instructions === undefined ? {} : { instructions }),
    _meta: { [META_SERVER_INFO]: serverInfo },
  });
  return written(ofDiscover, info, () => JSON.stringify(modernResult('server/discover', value())));
}

/** The answer to `initialize`, as JSON in parts: what all clients are told alike is shared by all answers. */
export async function initialised(protocolVersion: string, info: EndpointInfo): Promise<readonly [Buffer, Buffer]> {
  const rest = await written(ofInitialize, info, () => JSON.stringify(info).slice(1));
  return [Buffer.from(`{"protocolVersion":"${protocolVersion}",`), rest];
}

/** Made once, in its turn. */
function written(
  known: WeakMap<EndpointInfo, Buffer>,
  info: EndpointInfo,
  textOf: () => string,
): Buffer | Promise<Buffer> {
  const make = (): Buffer => {
    const bytes = known.get(info) ?? Buffer.from(textOf());
    known.set(info, bytes);
    return bytes;
  };
  return known.get(info) ?? inTurnOrNow(make);
}
