import { messageOf, PoolkitError, StartError } from '../../core/errors.js';

/**
 * A resource could not be created (ERR_START_FAILED): nothing was done with it, so calling again is safe. `cause` is
 * what `create` threw; it is undefined when `create` took longer than `createTimeoutMs`.
 */
export class CreateError extends StartError {
  constructor(pool: string, why: string, cause?: unknown) {
    super(pool, why, {}, cause);
    this.message = `${pool}: ${why}${cause === undefined ? '' : `: ${messageOf(cause)}`}`;
  }

  /** What `create` threw, as an error of the toolkit; one that already is stays as it is. */
  static of(pool: string, thrown: unknown): PoolkitError {
    return thrown instanceof PoolkitError ? thrown : new CreateError(pool, 'create failed', thrown);
  }
}
