import { OptionError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { checkFunction } from '../../core/options.js';
import type { GatewayOptions } from '../GatewayOptions.js';
import { Admission } from './Admission.js';

/** Who may come in, as the options say; undefined where all may. @throws OptionError */
export function admissionOf(
  { authenticate, resourceMetadata, scopes }: Pick<GatewayOptions, 'authenticate' | 'resourceMetadata' | 'scopes'>,
  logger: Logger,
): Admission | undefined {
  if (authenticate !== undefined)
    return new Admission(checkFunction('authenticate', authenticate), { resourceMetadata, scopes, logger });
  if (scopes !== undefined) throw new OptionError('scopes', scopes, 'none without authenticate');
  if (resourceMetadata === undefined) return undefined;
  throw new OptionError('resourceMetadata', resourceMetadata, 'none without authenticate');
}
