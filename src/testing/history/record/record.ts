import { OptionError } from '../../../core/errors.js';
import {
  checkBoolean,
  checkFunction,
  checkMs,
  checkOptions,
  checkPart,
  checkString,
  checkText,
  withDefaults,
} from '../../../core/options.js';
import type { McpPool } from '../../../pool/McpPool.js';
import type { History } from '../History.js';
import { type RecordableClient, recordClient } from './recordClient.js';
import { type RecordableGateway, recordGateway } from './recordGateway.js';
import { RECORD_DEFAULTS, type RecordOptions } from './recordOptions.js';
import { recordPool } from './recordPool.js';

/** What `record` follows: a pool or a gateway of the toolkit, or an MCP client (the SDK's `Client` is one). */
export type Recordable = McpPool | RecordableGateway | RecordableClient;

/**
 * `target` with every call, answer, failure, cancel, progress and notification written into `history`, and its close with
 * what is still alive after it. The target itself is untouched: what is not recorded costs nothing.
 *
 * ```ts
 * import { StdioPool } from 'mcp-poolkit/pool';
 * import { check, History, record } from 'mcp-poolkit/testing';
 *
 * const history = new History();
 * const pool = record(new StdioPool(), history);
 * // … calls, faults, close
 * check(history).assert();
 * ```
 */
export function record<T extends Recordable>(target: T, history: History, options: RecordOptions = {}): T {
  checkOptions('target', target, 'a pool, a client or a gateway');
  checkPart('history', history, ['add'], 'a History');
  const isPool = 'listAll' in target && 'request' in target && 'on' in target;
  const isGateway = 'listen' in target && 'announce' in target;
  const defaults = { ...RECORD_DEFAULTS, part: isPool ? 'pool' : isGateway ? 'gateway' : 'client' };
  const others = { expect: true, principal: true, session: true } as const;
  const all = withDefaults('record', options, defaults, others);
  checkText('part', all.part);
  checkBoolean('stamp', all.stamp);
  if (all.principal !== undefined) checkString('principal', all.principal);
  if (all.session !== undefined) checkString('session', all.session);
  checkMs('withinMs', all.withinMs, { infinity: true });
  if (all.expect !== undefined) checkFunction('expect', all.expect);
  if (isPool) return recordPool(target as T & McpPool, history, all);
  if (isGateway) return recordGateway(target as T & RecordableGateway, history, all);
  if ('callTool' in target) return recordClient(target as T & RecordableClient, history, all);
  throw new OptionError('target', target, 'a pool, a gateway or an MCP client');
}
