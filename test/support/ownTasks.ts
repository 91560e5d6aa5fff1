import { OwnTasks, TaskOwners } from '../../src/gateway/session/OwnTasks.js';

/** Of a gateway without users, whose servers are at URLs. */
export const ownTasks = (owners = new TaskOwners(), principal?: string): OwnTasks =>
  new OwnTasks(owners, { config: () => undefined }, principal);
