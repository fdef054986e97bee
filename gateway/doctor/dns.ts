/** Whether the control plane's name can be resolved here. */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import { type Finding, findingsOf } from './finding.js';

export interface DnsDependencies {
  readonly resolve: (host: string) => Promise<readonly string[]>;
}

const { ok, failure } = findingsOf('dns');
const limitMs = 5_000;

export const checkDns = async (
  { resolve }: DnsDependencies,
  hosts: readonly string[],
): Promise<Finding[]> =>
  Promise.all(
    [...new Set(hosts)].map(async (host) => {
      if (isIP(host) !== 0) return ok(`${host} is an address: no name to resolve`);
      try {
        const addresses = await withDeadline(resolve(host), limitMs);
        return ok(`${host} is ${addresses.join(', ')}`, { addresses });
      } catch (error) {
        const { code } = error as { code?: unknown };
        return failure(
          code === 'ENOTFOUND'
            ? `${host} is a name that nobody knows here`
            : `${host} cannot be resolved: the name server does not answer`,
          'check the name server (/etc/resolv.conf), and whether this network gives one by DHCP',
          { code: String(code ?? 'timeout') },
        );
      }
    }),
  );

export const systemDns: DnsDependencies = {
  resolve: async (host) => (await lookup(host, { all: true })).map(({ address }) => address),
};
