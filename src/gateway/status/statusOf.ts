import type { CloseScope } from '../../core/close/CloseScope.js';
import { type GatewayOptions, isLoopback } from '../GatewayOptions.js';
import { Guard } from '../http/request/guard.js';
import { Status, type StatusParts } from './Status.js';
import { checkStatusOptions } from './StatusOptions.js';

/** Begins with the page and metrics, if the gateway's option `status` asks for them there. */
export type OpenStatus = (scope: CloseScope, mounted: boolean) => Status | undefined;

/** What opens them when the gateway begins to serve: before, nothing listens. @throws OptionError */
export function statusOf(
  { status, authenticate }: Pick<GatewayOptions, 'status' | 'authenticate'>,
  host: string,
  parts: () => Omit<StatusParts, 'local'>,
): OpenStatus {
  const options = checkStatusOptions(status, isLoopback(host) && authenticate === undefined);
  return (scope, mounted) => {
    if (options === undefined || (mounted && options.authenticate === undefined)) return undefined;
    const local = new Guard({ host, allowedHosts: [], allowedOrigins: [] });
    const opened = new Status(options, { ...parts(), local });
    opened.watch(scope);
    return opened;
  };
}
