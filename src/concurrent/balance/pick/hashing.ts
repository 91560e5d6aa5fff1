/** 32 bits of a text, well mixed: FNV-1a over UTF-16 units, then the finaliser of MurmurHash3. */
export function hash32(text: string, seed = 0): number {
  let h = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) {
    h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  }
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * Weighted rendezvous: every target has a score for the key, the highest is its own. When a target goes, only its
 * keys move, and they spread over the others by weight. O(targets). (D. Thaler, C. Ravishankar; score -w / ln h.)
 */
export function rendezvousScore(targetHash: number, keyHash: number, weight: number): number {
  let h = Math.imul(targetHash ^ keyHash, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  const unit = (((h ^ (h >>> 16)) >>> 0) + 0.5) / 4_294_967_296;
  return -weight / Math.log(unit);
}

/** Points on a ring for the heaviest target; half as many at least. */
const POINTS = 160;
/** A hash of 32 bits and the number of a target fit into the whole numbers that a double holds. */
const MAX_TARGETS = 2 ** 20;

/**
 * Consistent hashing on a ring: a key belongs to the first point after it, and then to the next targets on the way. O(log
 * points) to find, for many targets. (D. Karger and others; ketama.)
 */
export class HashRing {
  readonly #hashes: Float64Array;
  readonly #owners: Int32Array;

  constructor(targets: readonly { readonly id: string; readonly weight: number }[]) {
    // A power of two, so that the points of those that stay move only when the greatest weight doubles or halves.
    const greatest = targets.reduce((most, { weight }) => Math.max(most, weight), Number.MIN_VALUE);
    const unit = 2 ** Math.ceil(Math.log2(greatest));
    const counts = targets.map(({ weight }) => (weight === 0 ? 0 : Math.max(1, Math.round((POINTS * weight) / unit))));
    // Each point is one number, its hash above its owner: numbers alone are sorted fast, and equal hashes by their owners.
    const points = new Float64Array(counts.reduce((sum, count) => sum + count, 0));
    let at = 0;
    for (const [owner, { id }] of targets.entries()) {
      for (let i = 0; i < (counts[owner] as number); i++) points[at++] = hash32(`${id}#${i}`) * MAX_TARGETS + owner;
    }
    points.sort();
    this.#hashes = points.map((point) => Math.floor(point / MAX_TARGETS));
    this.#owners = Int32Array.from(points, (point) => point % MAX_TARGETS);
  }

  /** The index of the first target on the way from the key that `accepts` takes; -1 when none does. */
  find(keyHash: number, accepts: (index: number) => boolean): number {
    const size = this.#hashes.length;
    let low = 0;
    let high = size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#hashes[middle] as number) < keyHash) low = middle + 1;
      else high = middle;
    }
    for (let i = 0; i < size; i++) {
      const owner = this.#owners[(low + i) % size] as number;
      if (accepts(owner)) return owner;
    }
    return -1;
  }
}
