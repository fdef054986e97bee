/** The boot loaders' protocols by the name that a configuration gives them. */
import type { LoaderProtocolName } from '@holdfast/provisioning/firmware/flash/part';
import type { LoaderProtocol } from './loader-protocol.js';
import { mcubootSmp } from './smp/mcuboot-smp.js';
import { stk500v1 } from './stk500v1.js';
import { stk500v2 } from './stk500v2.js';

export const loaderProtocols = {
  'mcuboot-smp': mcubootSmp,
  stk500v1,
  stk500v2,
} satisfies Record<LoaderProtocolName, LoaderProtocol>;
