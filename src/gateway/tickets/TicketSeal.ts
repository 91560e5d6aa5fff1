import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { KEY_NAME_BYTES, type SessionKey, sessionKeysOf } from './sessionKeys.js';

const FORMAT = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = 1 + KEY_NAME_BYTES + NONCE_BYTES;

/**
 * Authenticated encryption of short texts: AES-256-GCM under a random nonce, as base64url of format, name of the key, nonce,
 * ciphertext and tag. The first key seals, all of them open. What a text is for is authenticated along with it and not in it, so
 * that it opens for nothing else. Random nonces are good for some 2^32 texts of one key.
 */
export class TicketSeal {
  readonly #newest: SessionKey;
  readonly #keys: ReadonlyMap<string, SessionKey>;

  /** @throws OptionError for secrets that are none */
  constructor(secrets: readonly (string | Uint8Array)[]) {
    const keys = sessionKeysOf(secrets);
    this.#newest = keys[0] as SessionKey;
    this.#keys = new Map(keys.map((each) => [each.name, each]));
  }

  seal(text: string, purpose: string): string {
    const { key, name } = this.#newest;
    const head = Buffer.concat([Buffer.of(FORMAT), Buffer.from(name, 'base64url'), randomBytes(NONCE_BYTES)]);
    const cipher = createCipheriv('aes-256-gcm', key, head.subarray(1 + KEY_NAME_BYTES), { authTagLength: TAG_BYTES });
    cipher.setAAD(aadOf(head, purpose));
    const sealed = Buffer.concat([head, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
    return sealed.toString('base64url');
  }

  /** Undefined for what no key of ours sealed for that purpose. Never throws. */
  open(sealed: string, purpose: string): string | undefined {
    const bytes = Buffer.from(sealed, 'base64url');
    // One text has one form: no other passes for it.
    if (bytes.length < HEAD_BYTES + TAG_BYTES || bytes.toString('base64url') !== sealed) return undefined;
    const head = bytes.subarray(0, HEAD_BYTES);
    const known = this.#keys.get(bytes.toString('base64url', 1, 1 + KEY_NAME_BYTES));
    if (head[0] !== FORMAT || known === undefined) return undefined;
    const nonce = head.subarray(1 + KEY_NAME_BYTES);
    const decipher = createDecipheriv('aes-256-gcm', known.key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(aadOf(head, purpose)).setAuthTag(bytes.subarray(-TAG_BYTES));
    try {
      return decipher.update(bytes.subarray(HEAD_BYTES, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8');
    } catch {
      return undefined;
    }
  }
}

const aadOf = (head: Buffer, purpose: string): Buffer =>
  Buffer.concat([head.subarray(0, 1 + KEY_NAME_BYTES), Buffer.from(purpose, 'utf8')]);
