import type { Params } from '../../connection/protocol/messages.js';
import { isRequest, notice, type RpcId, type RpcMessage, type RpcRequest } from '../wire/messages.js';
import { differences } from './differences.js';
import { type Exchange, tokenOf } from './exchanges.js';
import { renewed } from './meta.js';

/** What a session lends to the exchange that it plays. */
export interface Player {
  readonly stamp: string | undefined;
  readonly signal: AbortSignal;
  send(text: string, about: RpcId | undefined): void;
  /** Asks the client; resolves to its reply. */
  ask(method: string, params: Params | undefined): Promise<RpcMessage>;
  diverged(what: string): void;
}

/** Sends what was recorded of a call, in its order, up to its answer, which is given back; undefined: there was none. */
export async function playSteps(
  { request: was, steps, answer }: Exchange,
  { id, params }: RpcRequest,
  { stamp, signal, send, ask, diverged }: Player,
): Promise<RpcMessage | undefined> {
  const again = (value: unknown): unknown => renewed(value, stamp, was.id, id);
  for (const { message, reply } of steps) {
    if (signal.aborted) return undefined;
    const method = message.method ?? '';
    if (isRequest(message)) {
      if (reply === undefined) continue;
      const got = await ask(method, again(message.params) as Params | undefined);
      for (const line of differences(outcomeOf(reply), outcomeOf(got))) diverged(`the reply to ${method}: ${line}`);
    } else if (method === 'notifications/progress') {
      const progressToken = tokenOf({ params: params ?? {} });
      if (progressToken === undefined) continue;
      send(notice(method, { ...(again(message.params) as Params), progressToken }), id);
    } else send(notice(method, again(message.params) as Params | undefined), id);
  }
  if (answer === undefined) return undefined;
  return 'result' in answer ? { ...answer, id, result: again(answer.result) } : { ...answer, id };
}

const outcomeOf = ({ result, error }: RpcMessage): object => (error === undefined ? { result } : { error });
