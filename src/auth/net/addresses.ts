import { BlockList, isIPv6 } from 'node:net';

/** How far a request may reach. `loopback`: public addresses and this machine. */
export type Reach = 'public' | 'loopback' | 'any';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** IPv4 that no public host has, by the registry of special purposes (RFC 6890), with multicast and what is reserved. */
const SPECIAL_V4 = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const;
const special = new BlockList();
for (const [net, prefix] of SPECIAL_V4) special.addSubnet(net, prefix, 'ipv4');

/** Of IPv6 only what is given to hosts, less the parts that carry another address inside (6to4, Teredo) or stand in documents. */
const SPECIAL_V6 = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const;
const given = new BlockList();
given.addSubnet('2000::', 3, 'ipv6');
const specialV6 = new BlockList();
for (const [net, prefix] of SPECIAL_V6) specialV6.addSubnet(net, prefix, 'ipv6');

/** Whether a request of that reach may go to the IP address. An IPv4 address in IPv6's clothes (`::ffff:…`) is for loopback alone. */
export function mayReach(address: string, reach: Reach): boolean {
  if (reach === 'any') return true;
  const v6 = isIPv6(address);
  const family = v6 ? 'ipv6' : 'ipv4';
  if (reach === 'loopback' && loopback.check(address, family)) return true;
  if (v6) return given.check(address, 'ipv6') && !specialV6.check(address, 'ipv6');
  return !special.check(address, 'ipv4');
}
