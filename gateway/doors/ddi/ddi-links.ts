/** The addresses that a client of hawkBit's device interface is told; it follows them as they are, and builds some by itself. */

export interface DdiLinks {
  readonly configData: string;
  /** `key` changes when what is behind it does. */
  deployment(number: number, key: string): string;
  /** Without a query: clients append `/feedback`. */
  cancel(number: number): string;
  installed(number: number): string;
  artifact(number: number, fileName: string): string;
  md5(number: number, fileName: string): string;
}

/** `origin`: `https://host:port` as the client reached it. */
export const ddiLinks = (origin: string, tenant: string, device: string): DdiLinks => {
  const base = `${origin}/${encodeURIComponent(tenant)}/controller/v1/${device}`;
  const artifact = (number: number, fileName: string): string =>
    `${base}/softwaremodules/${number}/artifacts/${encodeURIComponent(fileName)}`;
  return {
    configData: `${base}/configData`,
    deployment: (number, key) => `${base}/deploymentBase/${number}?c=${key}`,
    cancel: (number) => `${base}/cancelAction/${number}`,
    installed: (number) => `${base}/installedBase/${number}`,
    artifact,
    md5: (number, fileName) => `${artifact(number, fileName)}.MD5SUM`,
  };
};

/**
 * As the client reached the gateway, so that it can follow: which of its names a device can look up, nobody here knows. What stands in the
 * answer to one client concerns that client alone.
 */
export const originOf = (host: string | undefined, otherwise: () => string): string =>
  host !== undefined && hostForm.test(host) ? `https://${host}` : otherwise();

const hostForm = /^(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/;
