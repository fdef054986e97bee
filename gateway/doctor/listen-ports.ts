/** Whether the gateway can have the ports it wants, and who has those it cannot have. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { type PortHolder, portHolder } from '@holdfast/provisioning/program/port-holder';
import { type Finding, findingsOf } from './finding.js';

export interface ListenPortsDependencies {
  readonly holderOf: (port: number) => Promise<PortHolder | undefined>;
}

export interface WantedPort {
  /** `listen.httpsPort`. */
  readonly setting: string;
  readonly host: string;
  readonly port: number;
}

export interface ListenPortsOptions {
  readonly wanted: readonly WantedPort[];
  /** Process of the gateway that runs on this data folder: what it has, it may have. */
  readonly gatewayPid: number | undefined;
}

const { ok, failure } = findingsOf('ports');

export const checkListenPorts = (
  { holderOf }: ListenPortsDependencies,
  { wanted, gatewayPid }: ListenPortsOptions,
): Promise<Finding[]> =>
  Promise.all(
    wanted.map(async ({ setting, host, port }) => {
      if (port === 0) return ok(`${setting}: any free port`);
      const other = wanted.find((one) => one.port === port && one.setting !== setting);
      if (other !== undefined) {
        return failure(
          `${setting}: port ${port} is that of ${other.setting}, too`,
          'give each a port of its own',
        );
      }
      const code = await tryPort(host, port);
      if (code === undefined) return ok(`${setting}: port ${port} is free`);
      if (code === 'EADDRNOTAVAIL') {
        return failure(
          `${setting}: this machine does not have the address ${host}`,
          'choose an address of this machine with listen.host, or 0.0.0.0 for all',
        );
      }
      if (code === 'EACCES') {
        return failure(
          `${setting}: port ${port} is one that only root may take`,
          `choose a port from 1024 on with ${setting}`,
        );
      }
      const holder = await holderOf(port);
      if (holder !== undefined && holder.pid === gatewayPid) {
        return ok(`${setting}: port ${port} is served by this gateway`);
      }
      const who =
        holder === undefined
          ? 'another program (with sudo this says which)'
          : `${holder.name} (process ${holder.pid})`;
      return failure(
        `${setting}: port ${port} is taken by ${who}`,
        `end that program, or choose another port with ${setting}`,
        { port, ...(holder && { ...holder }) },
      );
    }),
  );

/** undefined when it can be had. */
const tryPort = async (host: string, port: number): Promise<string | undefined> => {
  const server = createServer().listen({ host, port });
  try {
    await once(server, 'listening');
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unknown';
  } finally {
    server.close();
  }
};

export const systemPorts: ListenPortsDependencies = { holderOf: (port) => portHolder(port) };
