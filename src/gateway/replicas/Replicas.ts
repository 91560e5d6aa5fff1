import { Shares } from '../../concurrent/Shares.js';
import type { Clock, Timer } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import { tellListener } from '../../core/events.js';
import type { Logger } from '../../core/logger.js';
import type { PoolEvents, ServerNotice } from '../../pool/McpPool.js';
import type { Params, ResponseMessage } from '../rpc/envelope.js';
import { Refusal } from '../rpc/failure.js';
import { askedBy } from '../session/ClientRequests.js';
import type { Session } from '../session/Session.js';
import type { SessionTable } from '../session/SessionTable.js';
import { noteOf, type ReplicaMessage, readReplicaMessage } from './messages.js';
import type { ReplicaLink } from './ReplicaLink.js';
import { sendingBytes } from './sendingRoom.js';
import { SessionSetUps } from './setUps/SessionSetUps.js';
import { ToldSets } from './setUps/ToldSets.js';
import { ToldCancellations } from './ToldCancellations.js';

export interface ReplicasOptions {
  readonly link: ReplicaLink;
  readonly sessions: SessionTable;
  /** A list of a server may be another now, as another replica heard. */
  readonly onChanged: (change: ListChange) => void;
  /** Lists may have changed while nothing was heard. */
  readonly onGap: () => void;
  /** Notes are kept for so long, in ms. */
  readonly lifeMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface ListChange {
  readonly server: string;
  readonly principal: string | undefined;
  readonly notice: ServerNotice;
}

/** What was noted of a session that is taken up, and what was told of it meanwhile; undefined: it holds no more. */
export interface SessionNotes {
  readonly noted: Readonly<Record<string, string>>;
  readonly told: ReadonlyMap<string, string | undefined>;
}

/** All replicas hear of a change at once: their clients are told of it once, so long after the first word, in ms. */
const TOGETHER_MS = 250;
/** What clients say at will: it may be lost where too much of it waits. */
const BY_CLIENTS: ReadonlySet<ReplicaMessage['type']> = new Set(['cancelled', 'set']);
const NOT_TOLD = 'other replicas could not be told';
const NOT_NOTED = 'other replicas could not be told of a session';
/** Changes that wait to be told; beyond it one is told at once. */
const MAX_WAITING = 1_000;
/** Bytes of notes of one session that this process makes; what is subscribed to beyond holds here alone. */
const MAX_NOTES_BYTES = 64 * 1_024;
/** Bytes of clients' answers for other replicas that the link has not read yet; of one origin three quarters at most. */
const MAX_ASKING_BYTES = 16 * 1_024 * 1_024;
const ENDED = 'ended';

/**
 * One of the replicas of a gateway. It tells the others what concerns them: changed lists, ended sessions, and what a client sent here about
 * what runs there (a cancellation, an answer to a question). What a client set for its session is noted, so that each replica that
 * has the session follows, and one that takes it up knows.
 */
export class Replicas implements Disposable {
  readonly #options: ReplicasOptions;
  readonly #listening: Disposable;
  /** Notes that were made here, and their bytes. */
  readonly #noted = new WeakMap<Session, Map<string, number>>();
  readonly #asking = new Shares(MAX_ASKING_BYTES);
  readonly #cancelled: ToldCancellations;
  readonly #setUps: SessionSetUps;
  readonly #sets: ToldSets;
  /** Of sessions whose notes are being read, what is told meanwhile. */
  readonly #readings = new Map<string, Set<Map<string, string | undefined>>>();
  readonly #waiting = new Map<string, { readonly change: ListChange; readonly timer: Timer }>();

  constructor(options: ReplicasOptions) {
    this.#options = options;
    this.#cancelled = new ToldCancellations(options.clock, (calls) => this.#tell({ type: 'cancelled', calls }));
    this.#setUps = new SessionSetUps(options);
    this.#sets = new ToldSets({
      notesOf: ({ key }) => this.#notesOf(key),
      apply: (...set) => this.#setUps.set(...set),
    });
    this.#listening = options.link.listen(
      (text) => this.#heard(text),
      () => options.onGap(),
    );
  }

  /** A server said here that a list of it changed. */
  changed({ server, principal, notice: { method } }: PoolEvents['notification']): void {
    this.#tell({ type: 'changed', server, principal: principal ?? null, method });
  }

  /** The session of that key was ended by its client, of that origin: that is all that is noted of it from here on. */
  ended(key: string, origin: string): void {
    this.#tell({ type: 'ended', key });
    const { link, lifeMs, logger } = this.#options;
    const noting = async (): Promise<void> => {
      await link.note(key, ENDED, '1', lifeMs, origin);
      const names = Object.keys(await link.notes(key)).filter((name) => name !== ENDED);
      await Promise.all(names.map((name) => link.note(key, name, undefined, lifeMs, origin)));
    };
    noting().catch((error: unknown) => logger.warn({ error: messageOf(error) }, NOT_NOTED));
  }

  /** A client cancels a call that is not in flight here. */
  cancelled(session: Session, id: string): void {
    this.#cancelled.add(session, id);
  }

  /** A client answers a question that was not asked here. Clients may say so at will: it goes to the one replica that asked, if that is there. */
  answered({ key, origin }: Session, { id, result, error }: ResponseMessage): void {
    const to = askedBy(id);
    if (to === undefined) return;
    const text = this.#written({ type: 'answered', to, key, id, result, error });
    if (text === undefined) return;
    const bytes = sendingBytes(text);
    // Beyond it, what comes is not told: the link does not answer, or too slowly for so much.
    if (!this.#asking.mayTake(origin, bytes)) return;
    this.#asking.add(origin, bytes);
    const telling = async (): Promise<void> => {
      if (!(await this.#isAlive(to))) return;
      this.#publish(text, true, to);
      // What is asked behind it is answered once it was read.
      await this.#isAlive(to);
    };
    void telling().finally(() => this.#asking.add(origin, -bytes));
  }

  /** A client's request, made by `ask`: what it set for its session is noted before it is answered, and holds everywhere. */
  asking(session: Session, method: string, params: Params | undefined, ask: () => Promise<unknown>): Promise<unknown> {
    const [name, text] = noteOf(method, params);
    if (name === undefined) return ask();
    return this.#sets.setting(session, name, () => this.#setting(session, name, text, ask));
  }

  /** What is noted of a session, and told of it meanwhile; undefined when its client ended it. What cannot be known now is as if it were not. */
  async notesOf(key: string): Promise<SessionNotes | undefined> {
    const told = new Map<string, string | undefined>();
    const readings = this.#readings.get(key) ?? new Set();
    this.#readings.set(key, readings.add(told));
    try {
      const noted = (await this.#notesOf(key)) ?? {};
      return noted[ENDED] === undefined ? { noted, told } : undefined;
    } finally {
      readings.delete(told);
      if (readings.size === 0) this.#readings.delete(key);
    }
  }

  /** Sets up a session that was taken up as its client left it. */
  follow(session: Session, { noted, told }: SessionNotes): void {
    for (const [name, text] of Object.entries(noted)) this.#setUps.set(session, name, text);
    for (const [name, text] of told) this.#sets.add(session, name, text);
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
    this.#cancelled[Symbol.dispose]();
    for (const { timer } of this.#waiting.values()) timer.cancel();
    this.#waiting.clear();
  }

  #heard(text: string): void {
    const message = readReplicaMessage(text, this.#options.link.id);
    if (message === undefined) return;
    const { sessions } = this.#options;
    if (message.type === 'changed') {
      const { server, principal, method } = message;
      this.#later({ server, principal: principal ?? undefined, notice: { method } });
      return;
    }
    if (message.type === 'ended') {
      sessions.endedElsewhere(message.key);
      return;
    }
    if (message.type === 'cancelled') {
      for (const [key, id] of message.calls) sessions.byKey(key)?.cancel(id);
      return;
    }
    const session = sessions.byKey(message.key);
    if (message.type === 'answered') session?.answered(message.id, message);
    else if (session !== undefined) this.#sets.add(session, message.name, message.text);
    // Its notes may have been read before that, and it is here behind it.
    else for (const told of this.#readings.get(message.key) ?? []) told.set(message.name, message.text);
  }

  /** Told once for all that say the same within a short time. */
  #later(change: ListChange): void {
    const { clock, onChanged } = this.#options;
    const key = JSON.stringify([change.server, change.principal, change.notice.method]);
    if (this.#waiting.has(key)) return;
    if (this.#waiting.size >= MAX_WAITING) {
      onChanged(change);
      return;
    }
    const timer = clock.setTimer(() => {
      this.#waiting.delete(key);
      onChanged(change);
    }, TOGETHER_MS);
    this.#waiting.set(key, { change, timer });
  }

  async #setting(session: Session, name: string, text: string | undefined, ask: () => Promise<unknown>) {
    const result = await ask().catch(async (error: unknown) => {
      if (text === undefined && error instanceof Refusal && (await this.#isSetElsewhere(session, name))) return {};
      throw error;
    });
    this.#setUps.said(session, name, text);
    const { key, endpoint } = session;
    if (!endpoint.moves || !this.#hasRoom(session, name, text)) return result;
    await this.#note(session, name, text);
    this.#tell({ type: 'set', key, name, ...(text !== undefined && { text }) });
    return result;
  }

  /** What was not set up here yet, or not heard of, may be given back. */
  async #isSetElsewhere(session: Session, name: string): Promise<boolean> {
    if (this.#setUps.said(session, name, undefined)) return true;
    if (!session.endpoint.moves || Buffer.byteLength(name) > MAX_NOTES_BYTES) return false;
    return (await this.#notesOf(session.key))?.[name] !== undefined;
  }

  /** Undefined when it cannot be known. */
  async #notesOf(key: string): Promise<Readonly<Record<string, string>> | undefined> {
    try {
      return await this.#options.link.notes(key);
    } catch (error) {
      this.#options.logger.warn({ error: messageOf(error) }, 'what other replicas know of a session cannot be told');
      return undefined;
    }
  }

  /** One of which nothing is known may be there. */
  async #isAlive(replica: string): Promise<boolean> {
    try {
      return await this.#options.link.isAlive(replica);
    } catch {
      return true;
    }
  }

  #tell(message: ReplicaMessage): void {
    const text = this.#written(message);
    if (text !== undefined) this.#publish(text, BY_CLIENTS.has(message.type));
  }

  /** Undefined where it is nested too deep to be written. */
  #written(message: ReplicaMessage): string | undefined {
    try {
      return JSON.stringify(message);
    } catch (error) {
      this.#options.logger.debug({ error: messageOf(error) }, NOT_TOLD);
      return undefined;
    }
  }

  #publish(text: string, mayBeLost: boolean, to?: string): void {
    const { link, logger } = this.#options;
    const publish = (): void => link.publish(text, mayBeLost, to);
    tellListener(publish, undefined, (error) => logger.warn({ error: messageOf(error) }, NOT_TOLD));
  }

  /** Whether it may be noted of the session. */
  #hasRoom(session: Session, name: string, text: string | undefined): boolean {
    const noted = this.#noted.get(session) ?? new Map<string, number>();
    this.#noted.set(session, noted);
    noted.delete(name);
    // What is too long to be noted is not noted elsewhere either.
    if (text === undefined) return Buffer.byteLength(name) <= MAX_NOTES_BYTES;
    const bytes = Buffer.byteLength(name) + Buffer.byteLength(text);
    if ([...noted.values()].reduce((sum, each) => sum + each, bytes) > MAX_NOTES_BYTES) return false;
    noted.set(name, bytes);
    return true;
  }

  async #note({ key, origin }: Session, name: string, text: string | undefined): Promise<void> {
    const { link, lifeMs, logger } = this.#options;
    try {
      await link.note(key, name, text, lifeMs, origin);
    } catch (error) {
      logger.warn({ error: messageOf(error) }, NOT_NOTED);
    }
  }
}
