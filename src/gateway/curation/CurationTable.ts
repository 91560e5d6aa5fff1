import type { Curation } from '../../registry/config/curation/Curation.js';
import { checkCuration } from '../../registry/config/curation/checkCuration.js';
import { Curator } from './Curator.js';

/** What is shown at one path. */
export interface View {
  readonly curator: () => Curator;
  /** Whether three tools stand for the others. */
  readonly searching: () => boolean;
}

/** The curation that holds now, for all servers together and for each group; another may take its place at any time. */
export class CurationTable {
  #curation: Curation;
  readonly #curators = new Map<string, Curator>();

  /** @throws OptionError */
  constructor(curation: Curation = {}) {
    this.#curation = checkCuration(curation);
  }

  /** @throws OptionError; the one before stays then */
  set(curation: Curation): void {
    this.#curation = checkCuration(curation);
    this.#curators.clear();
  }

  hasGroup(name: string): boolean {
    return Object.hasOwn(this.#curation.groups ?? {}, name);
  }

  /** What is shown of a group, or of all; of a group that is gone, nothing. */
  view(group?: string): View {
    return {
      curator: () => this.#curator(group),
      searching: () => (this.#groupOf(group)?.expose ?? this.#curation.expose) === 'search',
    };
  }

  #curator(group: string | undefined): Curator {
    const key = group === undefined ? '' : `/${group}`;
    const known = this.#curators.get(key) ?? new Curator(this.#curation, this.#groupOf(group));
    this.#curators.set(key, known);
    return known;
  }

  #groupOf(group: string | undefined) {
    if (group === undefined) return {};
    const { groups = {} } = this.#curation;
    return Object.hasOwn(groups, group) ? groups[group] : { servers: [] };
  }
}
