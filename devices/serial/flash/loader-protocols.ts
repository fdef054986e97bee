/** The boot loaders' protocols by the name that a configuration gives them. */
import type { LoaderProtocol, LoaderProtocolName } from './loader-protocol.js';
import { stk500v1 } from './stk500v1.js';
import { stk500v2 } from './stk500v2.js';

export const loaderProtocols = {
  stk500v1,
  stk500v2,
} satisfies Partial<Record<LoaderProtocolName, LoaderProtocol>>;
