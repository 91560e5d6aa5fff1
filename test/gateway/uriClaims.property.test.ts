import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NO_INDEX } from '../../src/gateway/aggregate/uris/ListIndex.js';
import { Uris, type UrisOptions } from '../../src/gateway/aggregate/uris/Uris.js';
import { UriTemplates, workOfMessage } from '../../src/gateway/aggregate/uris/uriTemplates.js';
import type { Downstream } from '../../src/gateway/endpoint/Endpoint.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../support/runs.js';

const SERVERS = ['a', 'b', 'bound'] as const;
const URIS = ['u:1', 'row:1', 'https://w/1'] as const;

/** Servers whose lists, and which themselves, come and go. `a` has a template. */
function house() {
  const present = new Set<string>(SERVERS);
  const listed = new Map<string, readonly { readonly name: string; readonly uri: string }[]>();
  const servers = (): string[] => SERVERS.filter((each) => present.has(each));
  const resources = () =>
    servers().map((server) => {
      const items = listed.get(server) ?? [];
      return { server, items, index: { ...NO_INDEX, uris: new Set(items.map(({ uri }) => uri)) } };
    });
  const rows = new UriTemplates();
  rows.add('row:{x}');
  const index = { ...NO_INDEX, uris: new Set(['row:{x}']), templates: rows };
  const templates = () =>
    servers().map((server) =>
      server === 'a' ? { server, items: { length: 1 }, index } : { server, items: [], index: NO_INDEX },
    );
  const catalog = (known: () => unknown) => ({ known, listsSoon: async () => known(), renew: async () => undefined });
  const uris = new Uris({
    pool: { servers, hasServer: (name: string) => present.has(name), info: () => undefined },
    callers: { isBound: (server: string) => server === 'bound', of: () => undefined },
    resources: catalog(resources),
    templates: catalog(templates),
  } as unknown as UrisOptions);
  return { uris, present, listed, resources };
}

const step = fc.record({
  do: fc.constantFrom('list', 'list', 'page', 'name', 'link', 'link', 'read', 'leave', 'join'),
  server: fc.constantFrom(...SERVERS),
  uri: fc.constantFrom(...URIS),
  has: fc.subarray([...URIS]),
  client: fc.nat({ max: 2 }),
});

test(
  'a plain URI leads to the server that it was shown of, or nowhere: whoever lists, names or links to it, comes or goes',
  () =>
    fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30, size: 'max' }), async (steps) => {
        const { uris, present, listed, resources } = house();
        const clients = (['legacy', 'legacy', 'modern'] as const).map((era) => ({ era }) as Downstream);
        /** What each client was shown, and what all were: the servers of each plain URI. */
        const shown = new Map(clients.map((each) => [each, new Map<string, Set<string>>()]));
        const all = new Map<string, string>();
        const show = (server: string, uri: string, client: Downstream, told: string, toAll: boolean): void => {
          const own = shown.get(client) ?? new Map<string, Set<string>>();
          const plain = told === uri;
          if (!plain) expect(told).toBe(`poolkit:${server}/${uri}`);
          if (plain && toAll && server !== 'bound' && !own.has(uri)) all.set(uri, server);
          own.set(uri, new Set([...(own.get(uri) ?? []), ...(plain ? [server] : [])]));
        };
        for (const { do: what, server, uri, has, client: at } of steps) {
          const client = clients[at] as Downstream;
          const there = present.has(server);
          if (what === 'list')
            listed.set(
              server,
              has.map((each) => ({ name: each, uri: each })),
            );
          else if (what === 'leave') present.delete(server);
          else if (what === 'join') present.add(server);
          else if (what === 'page') {
            const lists = resources() as unknown as Parameters<Uris['resource']>[1];
            for (const { server: own, items } of lists) {
              for (const item of items) {
                const { uri: told } = uris.resource({ server: own, key: item.uri, item }, lists, client);
                show(own, item.uri, client, told, true);
              }
            }
          } else if (what === 'name' && there) show(server, uri, client, uris.named(server, uri, client), true);
          else if (what === 'link' && there) {
            const told = uris.outward(server, uri, client, workOfMessage());
            // Clients of the modern era fetch what is of the web by themselves.
            if (client.era !== 'modern' || told !== uri || !uri.startsWith('https:')) {
              show(server, uri, client, told, client.era === 'modern');
            }
          } else if (what === 'read') {
            const route = await uris.find(uri, client);
            if (route === undefined) continue;
            uris.keep(route.server, uri, client);
            // A client of the modern era is not known by what it read.
            const known = client.era === 'legacy';
            show(route.server, uri, client, known ? uri : `poolkit:${route.server}/${uri}`, false);
          }
          for (const each of clients) {
            for (const one of URIS) {
              const own = shown.get(each)?.get(one);
              // What a bound server has is each client's own.
              const of = own ?? new Set(all.has(one) ? [all.get(one), 'bound'] : []);
              if (of.size === 0) continue;
              // Two servers may link to one page of the web: it is read from none.
              const none = own !== undefined && own.size > 1;
              if (none) expect(one).toMatch(/^https:/);
              expect([undefined, ...(none ? [] : of)]).toContain((await uris.find(one, each))?.server);
            }
          }
        }
      }),
      { numRuns: RUNS },
    ),
  RUNS_TIMEOUT_MS,
);

test('what answers make known of URIs drives out nothing that is listed', async () => {
  const { uris, listed, resources } = house();
  const client = { era: 'modern' } as Downstream;
  const item = { name: 'u:1', uri: 'u:1' };
  listed.set('a', [item]);
  const lists = resources() as unknown as Parameters<Uris['resource']>[1];
  expect(uris.resource({ server: 'a', key: 'u:1', item }, lists, client)).toBe(item);
  listed.set('b', [item]);
  listed.set('a', []);
  const long = 'x'.repeat(8_000);
  for (let at = 0; at < 1_200; at++) {
    const uri = `row:${at}${long}`;
    expect(uris.outward('a', uri, client, workOfMessage())).toBe(uri);
  }
  expect(await uris.find('u:1', client)).toEqual({ server: 'a', uri: 'u:1' });
});
