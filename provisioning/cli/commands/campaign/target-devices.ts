/** The devices that a campaign is for, named by their ids or as lists show them, with their sites. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { parseDevice } from '../../arguments.js';

export interface TargetDevices {
  readonly sites: readonly string[];
  readonly devices: readonly string[];
}

/**
 * A target has sites and ids, which any of its sites may have. Errors: REQUEST_INVALID where devices with their sites would become more than
 * those.
 */
export const targetDevices = ({
  sites = [],
  devices: texts = [],
}: Partial<TargetDevices>): TargetDevices => {
  const named = texts.map((text) => parseDevice(text, undefined));
  const devices = unique(named.map(({ device }) => device));
  const own = unique(named.flatMap(({ site }) => site ?? []));
  if (own.length === 0) return { sites, devices };
  const isWhole = named.every(({ site }) => site !== undefined);
  const isProduct = own.length === 1 || own.length * devices.length === unique(texts).length;
  const isAsGiven =
    sites.length === 0 ||
    unique([...sites])
      .sort()
      .join() === own.sort().join();
  if (isWhole && isProduct && isAsGiven) return { sites: own, devices };
  throw new HoldfastError(
    'REQUEST_INVALID',
    `${texts.join(', ')}: a campaign for devices of several sites names their ids alone, which any of its sites may have (--site), or a group`,
  );
};

const unique = (texts: readonly string[]): string[] => [...new Set(texts)];
