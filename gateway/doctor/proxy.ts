/** Whether the HTTP proxy lets the link through, and, where the direct way is closed, whether port 443 is open. */
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import { type ConnectProxy, connectThrough } from '@holdfast/provisioning/transfer/connect-proxy';
import type { Service } from './control-plane.js';
import { type Finding, findingsOf } from './finding.js';
import { type OpenTcp, openDirectly } from './tcp.js';

export interface ProxyOptions {
  readonly proxy: ConnectProxy | undefined;
  readonly services: readonly Service[];
  /** `https_proxy` of the environment and its like: what other programs of this machine use. */
  readonly environmentProxy: string | undefined;
}

const { ok, skipped, warning, failure } = findingsOf('proxy and 443');
const limitMs = 8_000;

export const checkProxy = async (
  { openTcp = openDirectly }: { readonly openTcp?: OpenTcp },
  { proxy, services, environmentProxy }: ProxyOptions,
): Promise<Finding[]> => {
  if (proxy !== undefined && services.length === 0) return [await checkAlone(openTcp, proxy)];
  if (proxy !== undefined) return Promise.all(services.map((to) => checkConnect(proxy, to)));
  const findings: Finding[] = [];
  if (environmentProxy !== undefined) {
    findings.push(
      warning(
        `the environment names a proxy (${environmentProxy}); the gateway goes by link.proxy alone, which is not set`,
        `set link.proxy to it if this network has no other way out`,
      ),
    );
  }
  const hosts = [...new Set(services.map(({ host }) => host))];
  return [
    ...findings,
    ...(await Promise.all(hosts.map((host) => check443(openTcp, host, services)))),
  ];
};

/** Before it is known where to. */
const checkAlone = async (openTcp: OpenTcp, proxy: ConnectProxy): Promise<Finding> => {
  const where = `the proxy ${proxy.host}:${proxy.port}`;
  try {
    (await withDeadline((signal) => openTcp(proxy, signal), limitMs)).destroy();
    return ok(`${where} answers; whether it lets the link through is known with --code CODE`);
  } catch (error) {
    return failure(
      `${where} cannot be reached: ${messageOf(error)}`,
      'check link.proxy, or take it out',
    );
  }
};

const checkConnect = async (
  proxy: ConnectProxy,
  { name, host, port }: Service,
): Promise<Finding> => {
  try {
    const socket = await withDeadline(
      (signal) => connectThrough(proxy, { host, port }, signal),
      limitMs,
    );
    socket.destroy();
    return ok(`the proxy ${proxy.host}:${proxy.port} lets ${name} through to ${host}:${port}`);
  } catch (error) {
    return failure(
      messageOf(error),
      `have the proxy allow CONNECT to ${host}:${port}, or put the control plane's ports on 443`,
    );
  }
};

const check443 = async (
  openTcp: OpenTcp,
  host: string,
  services: readonly Service[],
): Promise<Finding> => {
  if (services.some((service) => service.host === host && service.port === 443)) {
    return ok(`the control plane at ${host} is on port 443 already`);
  }
  try {
    (await withDeadline((signal) => openTcp({ host, port: 443 }, signal), limitMs)).destroy();
    return ok(`${host} port 443 can be reached, should the other ports be closed one day`);
  } catch (error) {
    return skipped(`${host} port 443: ${messageOf(error)}`);
  }
};
