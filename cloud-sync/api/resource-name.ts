/** Names of resources, `sites/{site}/devices/{device}`, as requests bring them. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { isEntityId } from '@holdfast/protos/mqtt/device-id';

/**
 * The ids in a name of this pattern: `parseName('sites/a/devices/b', 'sites/{site}/devices/{device}')` is `['a', 'b']`. `-` stands for
 * all where `wildcard` allows it. Errors: REQUEST_INVALID.
 */
export const parseName = (
  name: string,
  pattern: string,
  { wildcard = false }: { readonly wildcard?: boolean } = {},
): string[] => {
  const parts = name.split('/');
  const expected = pattern.split('/');
  const ids: string[] = [];
  const isOfPattern =
    parts.length === expected.length &&
    expected.every((part, index) => {
      const given = parts[index] ?? '';
      if (!part.startsWith('{')) return given === part;
      ids.push(given);
      return isEntityId(given) && (given !== '-' || wildcard);
    });
  if (isOfPattern) return ids;
  throw new HoldfastError(
    'REQUEST_INVALID',
    `"${name.slice(0, 200)}" is no name of the form ${pattern}, each id 1 to 64 of A-Z a-z 0-9 _ -`,
  );
};

/** The site of `sites/{site}`. */
export const parseSiteName = (name: string): string => parseName(name, 'sites/{site}')[0] ?? '';

/** Site and device of `sites/{site}/devices/{device}`. */
export const parseDeviceName = (
  name: string,
): { readonly site: string; readonly device: string } => {
  const [site = '', device = ''] = parseName(name, 'sites/{site}/devices/{device}');
  return { site, device };
};

export const siteName = (site: string): string => `sites/${site}`;
export const deviceName = (site: string, device: string): string =>
  `sites/${site}/devices/${device}`;
export const claimCodeName = (site: string, claim: string): string =>
  `sites/${site}/claimCodes/${claim}`;
export const manufacturerName = (manufacturer: string): string => `manufacturers/${manufacturer}`;

/** An id somebody chose. `-` alone means "all" in names. Errors: REQUEST_INVALID. */
export const requireId = (id: string, field: string): string => {
  if (isEntityId(id) && id !== '-') return id;
  throw new HoldfastError(
    'REQUEST_INVALID',
    `${field} must be 1 to 64 of A-Z a-z 0-9 _ -, and is "${id.slice(0, 200)}"`,
  );
};
