import type { IncomingMessage } from 'node:http';
import { EDGE_BYTES, type Edges, MessageEdges } from '../../../connection/channel/unread/MessageEdges.js';
import { answersAtItsEnd } from '../../../connection/channel/unread/messageAtEdges.js';
import { RPC_CODES } from '../../../connection/protocol/rpcCodes.js';
import { strictText } from '../../../core/text/strictText.js';
import { type ParsedBody, parsedBody } from '../../mount/parsedBody.js';
import { LARGE_BODY_CHARS, LargeBody } from '../../rpc/LargeBody.js';
import type { HeldBytes } from '../HeldBytes.js';
import { forgetRest } from './forgetRest.js';

export type Body =
  /** `given`: a host has read it, and keeps it with the request. */
  | { readonly text: string | LargeBody; readonly given?: boolean }
  | BodyRefusal
  /** The client went away before the end. */
  | { readonly gone: true };

export interface BodyRefusal {
  readonly status: 400 | 408 | 413 | 415 | 429 | 500 | 501 | 503;
  readonly why: string;
  readonly code?: number;
  /** Of one that is too large. */
  readonly edges?: Edges;
}

export interface BodyBounds {
  /** Bytes of one body. */
  readonly maxBytes: number;
  /** Longest time from the first read to the end of the body, in ms. */
  readonly timeoutMs: number;
  /** Bytes of all bodies and answers together. */
  readonly held: HeldBytes;
  /** Whose share of them it takes. */
  readonly owner: string;
  /** It may answer a question: of one that is too large so much is passed over as says which. */
  readonly mayAnswer?: boolean;
}

/** Of an answer that is too large so many times what a body may have is passed over, to get to its id. */
const MAX_PASSED = 16;
/** A piece smaller than this is copied: a slice of a few bytes holds the whole buffer it was read into. */
const SMALL_BYTES = 16 * 1_024;
const NO_TEXT: Body = Object.freeze({ status: 400, why: 'the body is not UTF-8', code: RPC_CODES.parseError });
const GONE: Body = Object.freeze({ gone: true });

/** The charset that a content type names, in quotes or without (RFC 9110, 8.3.1). */
const CHARSET = /;\s*charset\s*=\s*["']?([^\s;"']+)/i;
/** JSON is UTF-8 (RFC 8259, 8.1), and what is ASCII is that. */
const UTF8 = /^(?:utf-?8|us-ascii|ascii)$/i;

/** Reads a JSON body within its bounds. Never rejects. */
export function readBody(request: IncomingMessage, bounds: BodyBounds): Promise<Body> {
  const { headers } = request;
  const { maxBytes } = bounds;
  const type = headers['content-type'];
  const encoding = headers['content-encoding'];
  const tooLarge: BodyRefusal = { status: 413, why: `a body may have ${maxBytes} bytes` };
  if (type === undefined || !/^application\/json\s*(;|$)/i.test(type)) {
    return Promise.resolve({ status: 415, why: 'content-type must be application/json' });
  }
  const parsed = parsedBody(request);
  if (parsed !== undefined) return Promise.resolve(givenBody(parsed, tooLarge, maxBytes));
  if (encoding !== undefined && encoding !== 'identity') {
    return Promise.resolve({ status: 415, why: 'a content-encoding is not understood' });
  }
  const charset = CHARSET.exec(type)?.[1];
  if (charset !== undefined && !UTF8.test(charset)) {
    return Promise.resolve({ status: 415, why: 'a body is UTF-8: another charset is not understood' });
  }
  // Node takes the last coding off, which is chunked, and leaves those before it on (RFC 9112, 6.1).
  if (!/^(?:chunked)?$/i.test(headers['transfer-encoding'] ?? '')) {
    return Promise.resolve({ status: 501, why: 'a transfer-encoding other than chunked is not understood' });
  }
  if (Number(headers['content-length'] ?? 0) > maxBytes && bounds.mayAnswer !== true) return Promise.resolve(tooLarge);
  return new Promise((resolve) => new BodyReader(request, bounds, tooLarge, resolve));
}

function givenBody(parsed: ParsedBody, tooLarge: BodyRefusal, maxBytes: number): Body {
  if ('lost' in parsed)
    return { status: 500, why: 'the body was read before the proxy got it, and is not in req.body' };
  if ('deep' in parsed) return { status: 400, why: 'the body is nested too deep' };
  if ('foreign' in parsed) return NO_TEXT;
  if (Buffer.byteLength(parsed.text) <= maxBytes) return { ...parsed, given: true };
  return { ...tooLarge, edges: new MessageEdges([Buffer.from(parsed.text)]) };
}

/** One body on its way. What it holds is counted as held: small pieces are joined into buffers of its own. */
class BodyReader {
  readonly #request: IncomingMessage;
  readonly #bounds: BodyBounds;
  readonly #tooLarge: BodyRefusal;
  #resolve: ((body: Body) => void) | undefined;
  readonly #chunks: Buffer[] = [];
  readonly #timer: NodeJS.Timeout;
  #bytes = 0;
  #held = 0;
  #joint: Buffer | undefined;
  #used = 0;
  #done = false;
  /** Of one that is too large, and passed over. */
  #edges: MessageEdges | undefined;

  constructor(request: IncomingMessage, bounds: BodyBounds, tooLarge: BodyRefusal, resolve: (body: Body) => void) {
    this.#request = request;
    this.#bounds = bounds;
    this.#tooLarge = tooLarge;
    this.#resolve = resolve;
    if (Number(request.headers['content-length'] ?? 0) > bounds.maxBytes) this.#edges = new MessageEdges([]);
    this.#timer = setTimeout(
      () => this.#end({ status: 408, why: `a body may take ${bounds.timeoutMs} ms` }),
      bounds.timeoutMs,
    ).unref();
    bounds.held.arriving.add(this);
    request.on('data', this.#onData);
    request.on('end', this.#onEnd);
    request.on('close', this.#onGone);
    request.on('error', this.#onGone);
    // A host may have paused it.
    request.resume();
  }

  /** The proxy waits no longer. */
  cut(): void {
    this.#end({ status: 503, why: 'the proxy shut down before the body was whole: try again' });
  }

  readonly #onGone = (): void => this.#end(GONE);

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes += chunk.length;
    const { held, owner, maxBytes } = this.#bounds;
    if (this.#edges !== undefined || this.#bytes > maxBytes) {
      this.#passOver(chunk);
      return;
    }
    if (this.#keep(chunk)) return;
    const status = held.refusalOf(owner, this.#held);
    this.#end({ status, why: 'too much is being sent to this proxy at once: try again' });
  };

  readonly #onEnd = (): void => {
    if (this.#edges !== undefined) {
      this.#end(this.#tooLarge);
      return;
    }
    const parts = this.#takeParts();
    const [only] = parts;
    if (this.#bytes >= LARGE_BODY_CHARS) {
      this.#end({ text: new LargeBody(parts, this.#bytes) });
      return;
    }
    const text = strictText(parts.length === 1 && only !== undefined ? only : Buffer.concat(parts));
    this.#end(text === undefined ? NO_TEXT : { text });
  };

  /** It is refused once its edges say what it is: a server waits for what may be its client's answer. Nothing of it is kept. */
  #passOver(chunk: Buffer): void {
    const { held, owner, maxBytes, mayAnswer = false } = this.#bounds;
    this.#edges ??= new MessageEdges(this.#takeParts());
    this.#edges.push(chunk);
    held.giveBackFor(owner, this.#held);
    this.#held = 0;
    const { head, bytes } = this.#edges;
    const goesOn = head.length < EDGE_BYTES || (answersAtItsEnd(head) && bytes <= MAX_PASSED * maxBytes);
    if (!mayAnswer || !goesOn) this.#end(this.#tooLarge);
  }

  #takeParts(): Buffer[] {
    const parts = this.#chunks.splice(0);
    if (this.#joint !== undefined) parts.push(this.#joint.subarray(0, this.#used));
    this.#joint = undefined;
    return parts;
  }

  /** False when there is no room for it. */
  #keep(chunk: Buffer): boolean {
    // The only piece of a body, as nearly every body is, is read where it lies.
    if (chunk.length >= SMALL_BYTES || (this.#bytes === chunk.length && this.#complete)) {
      if (this.#joint !== undefined) {
        this.#chunks.push(this.#joint.subarray(0, this.#used));
        this.#joint = undefined;
      }
      this.#chunks.push(chunk);
      return this.#hold(chunk.length);
    }
    for (let at = 0; at < chunk.length; ) {
      if (this.#joint === undefined || this.#used === this.#joint.length) {
        if (this.#joint !== undefined) this.#chunks.push(this.#joint);
        if (!this.#hold(SMALL_BYTES)) return false;
        this.#joint = Buffer.allocUnsafeSlow(SMALL_BYTES);
        this.#used = 0;
      }
      const copied = chunk.copy(this.#joint, this.#used, at);
      at += copied;
      this.#used += copied;
    }
    return true;
  }

  get #complete(): boolean {
    return Number(this.#request.headers['content-length'] ?? Number.NaN) === this.#bytes;
  }

  #hold(bytes: number): boolean {
    const { held, owner } = this.#bounds;
    if (!held.takeFor(owner, bytes, this.#held)) return false;
    this.#held += bytes;
    return true;
  }

  #end(body: Body): void {
    if (this.#done) return;
    this.#done = true;
    clearTimeout(this.#timer);
    this.#bounds.held.arriving.delete(this);
    this.#bounds.held.giveBackFor(this.#bounds.owner, this.#held);
    // The request remembers its reader, and is there until it is answered: what is told of the body would keep it.
    this.#chunks.length = 0;
    this.#joint = undefined;
    const resolve = this.#resolve;
    this.#resolve = undefined;
    this.#request.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onGone);
    resolve?.(this.#edges !== undefined && 'status' in body ? { ...body, edges: this.#edges } : body);
    if ('status' in body) forgetRest(this.#request, this.#bounds.maxBytes, this.#bounds.held);
  }
}
