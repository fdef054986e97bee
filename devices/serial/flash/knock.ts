/** Finds the boot loader: resets the board and knocks, again and again, since a board whose flash was cut has nothing else to say. */
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Part } from '@holdfast/provisioning/firmware/flash/part';
import { backoff } from '@holdfast/provisioning/time/backoff';
import { wait } from '@holdfast/provisioning/time/wait';
import type { BytePort } from '../port/byte-port.js';
import type { Loader, LoaderProtocol } from './loader-protocol.js';
import type { Reset } from './resets.js';

export interface KnockOptions {
  readonly signal: AbortSignal;
  readonly attempts: number;
  /** Before each reset. */
  readonly onReset: () => void;
}

/** FLASH_NO_BOOT_LOADER after the last attempt. */
export const knock = async (
  { port, reset }: { readonly port: BytePort; readonly reset: Reset },
  { loader, part }: { readonly loader: LoaderProtocol; readonly part: Part },
  { signal, attempts, onReset }: KnockOptions,
): Promise<Loader> => {
  const open = async (): Promise<Loader | null> => {
    try {
      return await loader.open(port, part, signal);
    } catch (error) {
      if (isHoldfastError(error, 'FLASH_NO_BOOT_LOADER')) return null;
      throw error;
    }
  };
  let attempt = 0;
  for (const pauseMs of backoff({ firstMs: 50, mostMs: longestPauseMs, attempts })) {
    const listening = reset.isSpoken === true ? await open() : null;
    if (listening !== null) return listening;
    onReset();
    attempt += 1;
    await reset(port, signal, attempt);
    const answering = await open();
    if (answering !== null) return answering;
    await wait(pauseMs, signal);
  }
  throw new HoldfastError(
    'FLASH_NO_BOOT_LOADER',
    'No boot loader answers on the line; are its rate, its protocol and the reset as configured?',
  );
};

/** Shorter than any loader listens after power comes on, so that a board which a person switches off and on is met. */
const longestPauseMs = 500;
