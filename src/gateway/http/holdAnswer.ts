import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { waitsItsTurn } from '../../core/close/endWithSocket.js';
import { errorText, type Failure } from '../rpc/failure.js';
import { ownerOf } from '../session/origin.js';
import type { HeldBytes } from './HeldBytes.js';
import { bytesOf, EXCHANGE_BYTES, type JsonBody, sendJson } from './respond.js';

/** What of an answer waits for its client is bounded. */
export interface AnswerBounds {
  /** Bytes held over all sessions. */
  readonly held: HeldBytes;
  /** A client that takes nothing of an answer for so long, in ms, is cut. */
  readonly stallTimeoutMs: number;
}

/** Why a response is cut for which there is no room. */
export const NO_ROOM = 'too much waits for clients that do not read';

/** Smaller answers are counted only when they do not leave at once. */
const SMALL_BYTES = 64 * 1_024;

/** What a head of a request may take that is not counted, and what each of its headers takes beside its text. */
const USUAL_HEAD_BYTES = 8 * 1_024;
const HEADER_BYTES = 128;

/** Responses that are cut when they stall, from their turn on. */
const watched = new WeakSet<ServerResponse>();

/** Cuts a client that takes nothing: Node starts a socket's timeout anew at each progress of a write that is under way. */
export function cutWhenStalled(response: ServerResponse, { held, stallTimeoutMs }: AnswerBounds): void {
  if (watched.has(response)) {
    // Without a socket Node would keep a listener for each time.
    if (response.socket !== null) response.setTimeout(stallTimeoutMs);
    return;
  }
  watched.add(response);
  response.setTimeout(stallTimeoutMs, () => {
    held.cuts.cut(response, 'stalled', `its client took nothing of it for ${stallTimeoutMs} ms`);
  });
  // Another call of the socket may be unanswered for long. Before Node's own listener, which starts the time of an idle socket.
  response.prependOnceListener('finish', () => void response.setTimeout(0));
}

/** The same for a part of a stream that was written, until it has been taken: call it then. */
export function cutWhileStalled(response: ServerResponse, bounds: AnswerBounds): () => void {
  if (response.writableLength === 0) return () => undefined;
  cutWhenStalled(response, bounds);
  return () => {
    if (response.writableLength === 0) response.setTimeout(0);
  };
}

/**
 * Counts a large answer as held until its client has taken it. A client that takes nothing of it for `stallTimeoutMs` is cut.
 * How many bytes are held now; undefined when there is no room for them among what its owner, or all, may hold.
 */
export function holdAnswer(response: ServerResponse, bytes: number, bounds: AnswerBounds): number | undefined {
  if (bytes < SMALL_BYTES) return 0;
  const { held } = bounds;
  // A client that has gone takes nothing any more; one that resumes elsewhere has its own stream, which counts.
  if (isGone(response)) return held.hasRoomFor(ownerOf(response), bytes) ? 0 : undefined;
  if (!holds(response, bytes, held)) return undefined;
  cutWhenStalled(response, bounds);
  return bytes;
}

/** What is held of a response until it closes. */
const holding = new WeakMap<ServerResponse, { readonly owner: string; bytes: number }>();

/** Whether there is room for them. They are given back when the response closes: one listener for all parts of an array. */
function holds(response: ServerResponse, bytes: number, held: HeldBytes, own = 0): boolean {
  const owner = ownerOf(response);
  if (!held.takeFor(owner, bytes, own)) return false;
  const known = holding.get(response);
  // One that waited for its turn was its address's until it was known whose it is.
  if (known?.owner === owner) {
    known.bytes += bytes;
    return true;
  }
  const all = { owner, bytes };
  holding.set(response, all);
  response.once('close', () => {
    holding.delete(response);
    held.giveBackFor(all.owner, all.bytes);
  });
  return true;
}

export interface SendOptions {
  /** What `holdAnswer` holds of it. @defaultValue 0 */
  readonly heldBytes?: number;
  /** @defaultValue those of JSON alone */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Of a body that is a string, see `sendJson`. @defaultValue 'utf8' */
  readonly encoding?: 'latin1' | undefined;
}

/**
 * Answers with JSON in one write. What does not leave at once, since a client does not read what it asked for, is held from here
 * on however small it is.
 */
export function sendHeld(
  response: ServerResponse,
  status: number,
  body: JsonBody,
  bounds: AnswerBounds,
  { heldBytes = 0, headers, encoding }: SendOptions = {},
): void {
  sendJson(response, status, body, headers, encoding);
  holdWaiting(response, Math.max(0, bytesOf(body) - heldBytes), bounds, heldBytes);
}

/** Holds what of an answer did not leave at once; where there is no room for it, its client is cut. `own`: what is held of it already. */
export function holdWaiting(response: ServerResponse, bytes: number, bounds: AnswerBounds, own = 0): void {
  if (isGone(response) || response.writableLength === 0) return;
  const { held } = bounds;
  cutWhenStalled(response, bounds);
  if (holds(response, bytes, held, own)) return;
  const { socket, req } = response;
  held.cuts.cut(response, 'no_room', NO_ROOM);
  // One that waits behind another has no socket of its own yet.
  if (socket === null) req.socket?.destroy();
}

/**
 * Holds what a request takes that waits behind others on its connection, until it is over: a client may send many before it reads
 * an answer. So it does with what a head takes that is no ordinary one. Where there is no room for it, its client is cut.
 */
export function holdTurn(response: ServerResponse, { held }: AnswerBounds): void {
  const bytes = (waitsItsTurn(response) ? EXCHANGE_BYTES : 0) + unusualBytes(response.req.rawHeaders);
  if (bytes === 0 || isGone(response) || holds(response, bytes, held)) return;
  response.req.socket?.destroy();
  response.destroy();
}

/** What a head takes beyond an ordinary one: its text, and what stands for each name and value. */
function unusualBytes(rawHeaders: readonly string[] = []): number {
  let bytes = rawHeaders.length * (HEADER_BYTES / 2);
  for (const each of rawHeaders) bytes += each.length;
  return bytes <= USUAL_HEAD_BYTES ? 0 : bytes;
}

/** Answers one request, by its id as JSON text, with an error and the status that belongs to it. */
export function sendError(
  response: ServerResponse,
  idText: string,
  status: number,
  error: Failure,
  bounds: AnswerBounds,
  headers: Readonly<Record<string, string>> = {},
): void {
  sendHeld(response, status, errorText(idText, error), bounds, { headers });
}

/** Whether its client has gone; its 'close' may be still to come. */
export const isGone = ({ destroyed, req: { socket } }: ServerResponse): boolean =>
  destroyed || (isSocket(socket) && socket.destroyed);

/** What stands for a request of the fetch standard has none. */
const isSocket = (socket: Socket): boolean => typeof socket?.once === 'function';
