import type { TimelineEvent } from '../../src/gateway/status/StatusData.js';
import { byId, element } from './dom.js';

const MAX_SHOWN = 300;
let newest = 0;

export function clearEvents(): void {
  newest = 0;
  byId('events').replaceChildren();
}

export function showEvent({ id, at, kind, server, text }: TimelineEvent): void {
  if (id <= newest) return;
  newest = id;
  const list = byId('events');
  const item = element('li');
  const time = element('time', '', new Date(at).toLocaleTimeString([], { hour12: false }));
  time.dateTime = new Date(at).toISOString();
  item.append(time, element('span', kind, kind), element('span', '', server === null ? text : `${server}: ${text}`));
  list.prepend(item);
  while (list.childElementCount > MAX_SHOWN) list.lastElementChild?.remove();
  byId('events-empty').hidden = true;
}
