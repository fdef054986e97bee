/** Where the programs' bins are. The quickstart starts programs as anybody would, and imports none of them. */
import { fileURLToPath } from 'node:url';

const binOf = (workspace: string, name: string): string =>
  fileURLToPath(new URL(`../../../${workspace}/bin/${name}.js`, import.meta.url));

export const bins = {
  cloud: binOf('cloud-sync', 'holdfast-cloud'),
  gateway: binOf('gateway', 'holdfast-gateway'),
  device: binOf('devices', 'holdfast-device'),
  holdfast: binOf('provisioning', 'holdfast'),
} as const;
