import cluster from 'node:cluster';
import type { ReplicaLink } from '../../gateway/replicas/ReplicaLink.js';
import type { Output } from '../output/output.js';
import type { FromWorker, Share, ToWorker } from './messages.js';
import { WorkerLink } from './WorkerLink.js';

/** What a worker has of its primary. */
export interface WorkerRole {
  readonly output: Output;
  readonly link: ReplicaLink;
  readonly sessionKeys: readonly string[];
  readonly share: Share;
  /** Where it listens: not the option where that is 0, and clients were told another. */
  readonly port: number;
  /** Has the config read again when the primary says so: what SIGHUP means is for the primary to tell. */
  onReload(reload: () => Promise<boolean>): void;
}

/** The role of this process, if it is a worker: the primary tells what it needs to know. `onOrphaned`: the primary has gone. */
export async function asWorker(onOrphaned: () => void): Promise<WorkerRole | undefined> {
  if (!cluster.isWorker) return undefined;
  const tell = (message: FromWorker): void => {
    // Without a primary there is no one to tell.
    if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
  };
  process.once('disconnect', onOrphaned);
  const output =
    (name: keyof Output) =>
    (...args: unknown[]) =>
      tell({ type: 'output', name, args: args.map(plain) });
  let reload = async (): Promise<boolean> => false;
  const onReload = async (): Promise<void> => {
    // One that cannot be read is told by itself.
    const changed = await reload().catch(() => false);
    tell({ type: 'reloaded', changed });
  };
  const begun = new Promise<Extract<ToWorker, { type: 'begin' }>>((resolve) => {
    process.on('message', (message: ToWorker) => {
      if (message.type === 'begin') resolve(message);
      else if (message.type === 'reload') void onReload();
      else link.heard(message);
    });
  });
  const link = new WorkerLink(tell);
  const { sessionKeys, share, port } = await begun;
  return {
    output: {
      warning: output('warning'),
      problem: output('problem'),
      failure: output('failure'),
      ready: output('ready'),
      event: output('event'),
    },
    link,
    sessionKeys,
    share,
    port,
    onReload: (given) => {
      reload = given;
    },
  };
}

/** An error as its fields: what stands for it in the other process. */
function plain(value: unknown): unknown {
  return value instanceof Error ? { ...value, message: value.message } : value;
}
