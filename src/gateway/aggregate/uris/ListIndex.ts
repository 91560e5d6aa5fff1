import type { UriTemplates } from './uriTemplates.js';

/** What a list is searched for: made as it comes, in the turns in which it is looked through, so that no one else waits for a long one. */
export interface ListIndex {
  /** The URIs of resources, and the templates. */
  readonly uris: ReadonlySet<string>;
  readonly templates: UriTemplates | undefined;
  /** The URIs of the apps of tools. */
  readonly apps: ReadonlySet<string>;
}

const NO_URIS: ReadonlySet<string> = new Set();
export const NO_INDEX: ListIndex = Object.freeze({ uris: NO_URIS, templates: undefined, apps: NO_URIS });
