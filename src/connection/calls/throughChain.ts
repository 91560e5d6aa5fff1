import type { Logger } from '../../core/logger.js';
import { inTurnOrNow } from '../../core/time/turns.js';
import { lookedAt, memoryWithText, shareText } from '../channel/codec/exactText.js';
import { repeatsName } from '../channel/codec/members.js';
import { FREE_BYTES } from '../channel/codec/parsingCost.js';
import { type Deadline, ResultRoom, SHORT_RESULT_BYTES } from '../channel/large/ResultRoom.js';
import type { CallOptions, Params, Progress, ServerNotice } from '../protocol/messages.js';
import { CallResult } from './CallResult.js';
import type { ChainRuns } from './ChainRuns.js';
import type { CallChanges } from './Middleware.js';
import type { Admit, CallOrigin, MiddlewareChain, PassedCall } from './MiddlewareChain.js';
import { respliced, spliced } from './spliced.js';

/** Notifications of one call that wait for slow middleware; more are dropped. */
const MAX_WAITING = 1_000;
/** And what they may take in memory, in bytes; one is taken always. */
const MAX_WAITING_BYTES = 4 * 1_024 * 1_024;

/** What a call carries that middleware has to do with. */
export type ChainedOptions = {
  readonly [K in 'signal' | 'paramsText' | 'timeoutMs' | 'onProgress' | 'onNotification' | 'onRequest']?:
    | CallOptions[K]
    | undefined;
} & { readonly deadlineMs?: number | undefined };

/** What calls pass through. */
export interface ChainParts {
  readonly chain: MiddlewareChain;
  readonly runs: ChainRuns;
  readonly logger: Logger;
}

/** Who speaks, in all that belongs to one call. */
export type ChainedParty = Pick<CallOrigin, 'server' | 'caller' | 'era'>;

/**
 * A request through a chain, with what the server says and asks while it runs. `send` gets the params and options as they come out
 * of it: the very ones that went in where nothing was changed. Middleware that never ends is not waited for once the call is given up.
 */
export function throughChain<O extends ChainedOptions>(
  { chain, runs, logger }: ChainParts,
  origin: CallOrigin,
  params: Params | undefined,
  options: O,
  send: (params: Params | undefined, options: O) => Promise<unknown>,
): Promise<CallResult> {
  return runs.run(origin, options.signal, (sent) => {
    const sending: typeof send = (...given) => {
      sent();
      return send(...given);
    };
    return passed({ chain, runs, logger }, origin, params, options, sending);
  });
}

/** A notification of a client through a chain: `send` gets its params as they come out of it. */
export async function noticeThroughChain(
  { chain, runs }: ChainParts,
  origin: CallOrigin,
  params: Params | undefined,
  signal: AbortSignal | undefined,
  send: (params: Params | undefined) => Promise<void>,
): Promise<void> {
  await runs.run(origin, signal, (sent) =>
    chain.run(origin, params, signal === undefined ? {} : { signal }, async (passed) => {
      sent();
      await send(respliced(params, passed.params));
      return CallResult.NONE;
    }),
  );
}

/**
 * Each URI of a subscription passes as a `resources/subscribe`, whichever way it is made. Those are left out that are refused, answered on the
 * way, or gone on with as other ones: what passed would not be what is subscribed to. `why`: of the first that was refused.
 */
export async function throughAsSubscriptions(
  parts: ChainParts,
  uris: readonly string[],
  originOf: (uri: string) => Pick<CallOrigin, 'server' | 'caller' | 'era' | 'path'>,
  signal: AbortSignal | undefined,
): Promise<{ readonly uris: string[]; readonly why: unknown }> {
  let why: unknown;
  const passing = uris.map(async (uri) => {
    const fixed = { kind: 'request', from: 'client', method: 'resources/subscribe', idempotent: false } as const;
    let through = false;
    const end = async (own: Params | undefined): Promise<object> => {
      through = own?.['uri'] === uri;
      return {};
    };
    await throughChain(parts, { ...originOf(uri), ...fixed }, { uri }, signal ? { signal } : {}, end).catch((error) => {
      through = false;
      why ??= error;
    });
    return through ? [uri] : [];
  });
  return { uris: (await Promise.all(passing)).flat(), why };
}

async function passed<O extends ChainedOptions>(
  { chain, runs, logger }: ChainParts,
  origin: CallOrigin,
  params: Params | undefined,
  given: O,
  send: (params: Params | undefined, options: O) => Promise<unknown>,
): Promise<CallResult> {
  const { paramsText = '' } = given;
  const repeats = (): boolean => repeatsName(paramsText);
  // Middleware decides by their values: of a name that comes twice the server may take the other.
  const anew = paramsText.length < FREE_BYTES ? repeats() : await inTurnOrNow(repeats);
  const options = anew ? { ...given, paramsText: undefined } : given;
  const changes = changesOf(options);
  const listens = options.onProgress ?? options.onNotification ?? options.onRequest;
  const inbound = listens === undefined ? undefined : new Inbound(chain, origin, logger);
  const own = inbound === undefined ? options : inbound.wrap(options);
  let room: ResultRoom | undefined;
  let deadline: Deadline | undefined;
  let isOver = false;
  const admit: Admit = (result) => {
    const { raw } = result;
    if (!(raw instanceof Uint8Array) || raw.length < SHORT_RESULT_BYTES || isOver) return result;
    room ??= new ResultRoom(origin, runs.clock, options.signal);
    return room.take(raw.length, deadline).then(() => result);
  };
  const end = async (passed: PassedCall): Promise<CallResult> => {
    const { deadlineMs } = passed.changes;
    if (deadlineMs !== undefined) deadline = { deadlineMs, untilMs: runs.clock.now() + deadlineMs };
    // What came before is of no more use: it must not hold up what comes.
    room?.end();
    if (passed.params === params && passed.changes === changes)
      return admit(CallResult.of(await send(params, own), origin.server));
    const changing = (): O => optionsOf(passed, { params, changes }, own);
    const changed = paramsText.length < FREE_BYTES ? changing() : await inTurnOrNow(changing);
    return admit(CallResult.of(await send(passed.params, changed), origin.server));
  };
  try {
    const result = await chain.run(origin, params, changes, end, options.paramsText, admit);
    // What was said before the answer is heard before it.
    if (inbound?.told !== undefined) await inbound.told;
    return result;
  } finally {
    isOver = true;
    room?.close();
  }
}

/** What a server says and asks, through a chain and in its order. */
export class Inbound {
  /** Settles when all that was said so far has been told; undefined while there was nothing. */
  told: Promise<void> | undefined;
  /** Who speaks from here on. */
  party: ChainedParty;
  readonly #chain: MiddlewareChain;
  readonly #logger: Logger;
  #waiting = 0;
  #waitingBytes = 0;

  constructor(chain: MiddlewareChain, party: ChainedParty, logger: Logger) {
    this.#chain = chain;
    this.party = party;
    this.#logger = logger;
  }

  /** Options whose listeners hear what comes out of the chain. */
  wrap<O extends ChainedOptions>(options: O): O {
    const { onProgress, onNotification, onRequest } = options;
    if (onProgress === undefined && onNotification === undefined && onRequest === undefined) return options;
    return {
      ...options,
      ...(onProgress && {
        onProgress: (progress: Progress) =>
          this.notice(
            { method: 'notifications/progress', params: shareText(progress, { ...progress }) },
            ({ params }) => onProgress(params as unknown as Progress),
          ),
      }),
      ...(onNotification && { onNotification: (notice: ServerNotice) => this.notice(notice, onNotification) }),
      ...(onRequest && {
        onRequest: (request: Parameters<typeof onRequest>[0], context: Parameters<typeof onRequest>[1]) =>
          this.ask(request.method, request.params, context.signal, (params) =>
            onRequest({ ...request, ...(params && { params }) }, context),
          ),
      }),
    };
  }

  /** A notification; one that middleware does not pass on, or fails at, is not told. */
  notice({ method, params }: ServerNotice, tell: (notice: ServerNotice) => void): void {
    const bytes = memoryWithText(params);
    const full = this.#waiting > 0 && this.#waitingBytes + bytes > MAX_WAITING_BYTES;
    if (full || this.#waiting >= MAX_WAITING) {
      this.#logger.warn({ server: this.party.server, method }, 'a notification is dropped: middleware is too slow');
      return;
    }
    this.#waiting++;
    this.#waitingBytes += bytes;
    const origin: CallOrigin = {
      kind: 'notification',
      from: 'server',
      method,
      idempotent: false,
      ...partyOf(this.party),
    };
    const run = async (): Promise<void> => {
      try {
        await this.#chain.run(origin, params, {}, async (passed) => {
          tell({ method, ...(passed.params && { params: respliced(params, passed.params) }) });
          return CallResult.NONE;
        });
      } catch (error) {
        this.#logger.error({ server: this.party.server, method, error }, 'middleware failed at a notification');
      } finally {
        this.#waiting--;
        this.#waitingBytes -= bytes;
      }
    };
    this.told = this.told === undefined ? run() : this.told.then(run);
  }

  /** The same; `direct`: there is no middleware, so that it is told at once, in its turn. */
  noticeUnless(direct: boolean, notice: ServerNotice, tell: (notice: ServerNotice) => void): void {
    if (direct && this.#waiting === 0) tell(notice);
    else this.notice(notice, tell);
  }

  /** A request of a server. */
  async ask(
    method: string,
    params: Params | undefined,
    signal: AbortSignal,
    answer: (params: Params | undefined) => Promise<unknown>,
  ): Promise<unknown> {
    await this.told;
    const origin: CallOrigin = { kind: 'request', from: 'server', method, idempotent: false, ...partyOf(this.party) };
    const result = await this.#chain.run(origin, params, { signal }, async (passed) =>
      CallResult.of(lookedAt(await answer(respliced(params, passed.params)))),
    );
    return result.value;
  }
}

const NONE: CallChanges = Object.freeze({});

function changesOf({ signal, deadlineMs, timeoutMs }: ChainedOptions | CallChanges): CallChanges {
  if (signal === undefined && deadlineMs === undefined && timeoutMs === undefined) return NONE;
  return {
    ...(signal && { signal }),
    ...(deadlineMs !== undefined && { deadlineMs }),
    ...(timeoutMs !== undefined && { timeoutMs }),
  };
}

const partyOf = ({ server, caller, era }: ChainedParty): ChainedParty => ({ server, caller, era });

/** The options of a call as it came out; the very ones where nothing was changed. */
function optionsOf<O extends ChainedOptions>(
  passed: PassedCall,
  { params, changes }: { readonly params: Params | undefined; readonly changes: CallChanges },
  options: O,
): O {
  const sameParams = passed.params === params;
  const { paramsText } = options;
  return {
    ...options,
    ...(passed.changes !== changes && changesOf(passed.changes)),
    ...(paramsText !== undefined && !sameParams && { paramsText: spliced(paramsText, params, passed.params) }),
  };
}
