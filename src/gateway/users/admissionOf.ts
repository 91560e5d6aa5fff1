import { OptionError } from '../../core/errors.js';
import { checkFunction } from '../../core/options.js';
import type { GatewayOptions } from '../GatewayOptions.js';
import { Admission, type AdmissionOptions } from './Admission.js';

/** Who may come in, as the options say; undefined where all may. @throws OptionError */
export function admissionOf(
  { authenticate, resourceMetadata, scopes }: Pick<GatewayOptions, 'authenticate' | 'resourceMetadata' | 'scopes'>,
  parts: Pick<AdmissionOptions, 'logger' | 'scope' | 'signal'>,
): Admission | undefined {
  if (authenticate !== undefined)
    return new Admission(checkFunction('authenticate', authenticate), { resourceMetadata, scopes, ...parts });
  if (scopes !== undefined) throw new OptionError('scopes', scopes, 'none without authenticate');
  if (resourceMetadata === undefined) return undefined;
  throw new OptionError('resourceMetadata', resourceMetadata, 'none without authenticate');
}
