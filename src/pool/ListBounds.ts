/** The bounds of a whole list; a longer one is a `ProtocolError`, since a part of a list is none. So is one of about 400,000 values. */
export interface ListBounds {
  /** Pages: a whole number from 1. @defaultValue 1000 */
  readonly maxPages?: number;
  /** Items on all pages: a whole number from 1. @defaultValue 20000 */
  readonly maxItems?: number;
  /** Bytes of all items as JSON, and of all cursors, from 1024. @defaultValue 8388608 */
  readonly maxBytes?: number;
  /** Time for all pages, in ms from 1; `Infinity`: no limit but those of the calls. @defaultValue 120000 */
  readonly maxTotalTimeoutMs?: number;
}

export const LIST_DEFAULTS = Object.freeze({
  maxPages: 1_000,
  maxItems: 20_000,
  maxBytes: 8 * 1024 * 1024,
  maxTotalTimeoutMs: 120_000,
});
