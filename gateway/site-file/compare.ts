/** Two configurations side by side, setting by setting. */
import { settingsOf } from '@holdfast/provisioning/program/settings';
import { type GatewayConfiguration, gatewayConfiguration } from '../configuration.js';

export interface Change {
  /** `listen.httpsPort`. */
  readonly setting: string;
  readonly from: unknown;
  readonly to: unknown;
}

export const compareSettings = (from: unknown, to: GatewayConfiguration): Change[] =>
  settingsOf(gatewayConfiguration).settings.flatMap(({ path }) => {
    const [before, after] = [valueAt(from, path), valueAt(to, path)];
    if (sameJson(before, after)) return [];
    return [{ setting: path.join('.'), from: before, to: after }];
  });

const valueAt = (tree: unknown, path: readonly string[]): unknown => {
  let value = tree;
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return value;
};

/** Both come out of one schema, which gives its fields in one order. */
const sameJson = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
