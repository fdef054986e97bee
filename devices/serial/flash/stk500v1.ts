/** Atmel's STK500 protocol, version 1, as boot loaders speak it. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { LoaderProtocol } from './loader-protocol.js';

export const stk500v1: LoaderProtocol = {
  name: 'stk500v1',
  open: async () => {
    throw new HoldfastError('FLASH_NO_BOOT_LOADER', 'No boot loader answers on the line');
  },
};
