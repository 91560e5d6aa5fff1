import type { Clock } from '../../core/clock.js';
import { ClosedError, NotSentError, OptionError, OutcomeUnknownError, ProtocolError } from '../../core/errors.js';
import { tellListener } from '../../core/events.js';
import type { Logger } from '../../core/logger.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import type { Channel } from '../channel/Channel.js';
import { ListChanges } from '../ListChanges.js';
import type { ListPace } from '../ListPace.js';
import { META_SUBSCRIPTION_ID, type Params, type ServerNotice } from './messages.js';
import { objectOf } from './objectOf.js';

export interface ListenOptions {
  /** Aborting ends the subscription; before it is open, `listen` rejects with the reason. */
  readonly signal?: AbortSignal;
  /** Longest wait, in ms, for the server to acknowledge it. */
  readonly timeoutMs?: number;
  /** The id that the subscription's notifications carry in place of the transport's; without one they carry none. */
  readonly subscriptionId?: string | number;
  /** In whose share its stream is; without one it is of no share. */
  readonly owner?: string | undefined;
  readonly onNotification: (notice: ServerNotice) => void;
}

/** Why a subscription is over: our side, the server's empty result, or the end of its stream. */
export type ListenEnd = 'closed' | 'finished' | 'cut';

/** One open `subscriptions/listen`. */
export interface ListenSubscription extends AsyncDisposable {
  /** What the server agreed to tell. */
  readonly filter: Params;
  /** Resolves when it is over; never rejects. */
  readonly ended: Promise<void>;
  /** Why it is over; undefined while it is not. One that was cut may be opened again. */
  readonly endedBy: ListenEnd | undefined;
  close(): Promise<void>;
}

/** @throws OptionError in the legacy era, which has `resources/subscribe` in its place. */
export function assertModern(era: Era): void {
  if (era === 'modern') return;
  throw new OptionError('era', era, 'a server of the modern era: a legacy one has resources/subscribe');
}

/** What a subscription stands on. */
export interface ListenGround {
  readonly server: string;
  readonly channel: Channel;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly listPace: ListPace | undefined;
}

/** The subscriptions of one connection that are open. */
export class OpenListens {
  readonly #ground: ListenGround;
  readonly #controls = new Set<AbortController>();

  constructor(ground: ListenGround) {
    this.#ground = ground;
  }

  get size(): number {
    return this.#controls.size;
  }

  /** `onEnd`: it is over, or was refused. */
  open(
    filter: Params,
    options: ListenOptions & { readonly timeoutMs: number },
    onEnd?: () => void,
  ): Promise<ListenSubscription> {
    const control = new AbortController();
    this.#controls.add(control);
    const over = (): void => {
      this.#controls.delete(control);
      onEnd?.();
    };
    return listen(this.#ground, filter, { ...options, control, onEnd: over });
  }

  /** Ends all. */
  abort(): void {
    for (const control of [...this.#controls]) control.abort();
  }
}

interface ListenRequest extends ListenOptions {
  readonly timeoutMs: number;
  /** Ends it. */
  readonly control: AbortController;
  /** It is over, or was refused. */
  readonly onEnd: () => void;
}

const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';

/**
 * Opens a subscription (2026-07-28, subscriptions) on a stream of its own. Resolves when the server has acknowledged it.
 * An empty result and the end of the stream both end it.
 */
async function listen(
  { server, channel, clock, logger, listPace }: ListenGround,
  filter: Params,
  { signal, timeoutMs, subscriptionId, onNotification, control, onEnd }: ListenRequest,
): Promise<ListenSubscription> {
  if (signal?.aborted === true) onEnd();
  signal?.throwIfAborted();
  const onAbort = (): void => control.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort);
  let open!: (filter: Params) => void;
  const opened = new Promise<Params>((resolve) => {
    open = resolve;
  });
  const tell = (notice: ServerNotice): unknown => onNotification(relabelled(notice, subscriptionId));
  const label = subscriptionId === undefined ? {} : { params: { _meta: { [META_SUBSCRIPTION_ID]: subscriptionId } } };
  const changes = new ListChanges(({ method }) => {
    if (control.signal.aborted || signal?.aborted === true) return;
    tellListener(onNotification, { method, ...label }, (error) =>
      logger.error({ server, error }, 'a subscription listener failed'),
    );
  }, listPace);
  const asked = onTransport(filter);
  const result = channel.request(
    'subscriptions/listen',
    { notifications: asked },
    {
      signal: control.signal,
      timeoutMs: Number.POSITIVE_INFINITY,
      maxTotalTimeoutMs: Number.POSITIVE_INFINITY,
      acquireTimeoutMs: timeoutMs,
      onNotification: (notice) => {
        if (notice.method === ACKNOWLEDGED) return open(agreedOn(asked, notice.params?.['notifications']));
        // Returned, so that an async listener that rejects is heard of.
        return changes.admit(notice) ? tell(notice) : undefined;
      },
    },
  );
  const over = result.then(
    (): ListenEnd => 'finished',
    (error: unknown): ListenEnd => {
      if (control.signal.aborted) return 'closed';
      if ([OutcomeUnknownError, NotSentError, ClosedError].some((cut) => error instanceof cut)) return 'cut';
      throw error;
    },
  );
  let endedBy: ListenEnd | undefined;
  const ended = over
    .catch((): ListenEnd => 'cut')
    .then((end) => {
      endedBy = end;
      // What is opened in its place does not know of it.
      changes.flush();
      signal?.removeEventListener('abort', onAbort);
      onEnd();
    });
  const tooLate = clock.setTimer(
    () => control.abort(new ProtocolError(server, `no acknowledgement of a subscription within ${timeoutMs} ms`)),
    timeoutMs,
    { ref: true },
  );
  try {
    const agreed = await Promise.race([opened, over.then(() => undefined)]);
    if (agreed === undefined) {
      if (control.signal.aborted) throw control.signal.reason;
      await result;
      throw new ProtocolError(server, 'it ended a subscription without acknowledging it');
    }
    const close = async (): Promise<void> => {
      control.abort();
      await ended;
    };
    return {
      filter: agreed,
      ended,
      get endedBy() {
        return endedBy;
      },
      close,
      [Symbol.asyncDispose]: close,
    };
  } finally {
    tooLate.cancel();
  }
}

/** The transport's id of the subscription is ours alone. */
function relabelled(notice: ServerNotice, subscriptionId: string | number | undefined): ServerNotice {
  const meta = notice.params?.['_meta'] as Params | undefined;
  if (meta?.[META_SUBSCRIPTION_ID] === undefined) return notice;
  const { [META_SUBSCRIPTION_ID]: _, ...rest } = meta;
  const mapped = subscriptionId === undefined ? rest : { ...rest, [META_SUBSCRIPTION_ID]: subscriptionId };
  return { ...notice, params: { ...notice.params, _meta: mapped } };
}

/** Of what was asked for, what the server says it will tell: nothing else of its word is kept. */
function agreedOn(asked: Params, told: unknown): Params {
  const said = objectOf(told);
  const { resourceSubscriptions: wanted, ...kinds } = asked;
  const { resourceSubscriptions: uris } = said;
  const agreed = Object.keys(kinds).filter((kind) => kinds[kind] === true && said[kind] === true);
  const flags = Object.fromEntries(agreed.map((kind) => [kind, true]));
  if (!Array.isArray(wanted) || !Array.isArray(uris)) return flags;
  const named = new Set<unknown>(uris);
  return { ...flags, resourceSubscriptions: wanted.filter((uri) => named.has(uri)) };
}

/** The toolkit says `resourceUris` in both eras; the modern transport has a name of its own for them. */
function onTransport({ resourceUris, ...rest }: Params): Params {
  return resourceUris === undefined ? rest : { resourceSubscriptions: resourceUris, ...rest };
}
