export type { EraStore, EraVerdict } from '../core/era/EraStore.js';
export type { Clock, Closeable, CloseOptions, LogFn, Logger, Timer } from '../core/index.js';
export { FileCache } from './FileCache.js';
export { NoOpCache } from './NoOpCache.js';
export { FILE_CACHE_DEFAULTS, type FileCacheOptions } from './options.js';
export type {
  Cached,
  CachedTools,
  LoadContext,
  Loader,
  LoadOptions,
  ServerRef,
  SetOptions,
  ToolHints,
  ToolListing,
  ToolStore,
  ToolStoreStats,
} from './ToolStore.js';
