/** A boot loader's client that asks right before the first byte is written; refused, the application is let go on, and nothing has changed. */
import type { LoaderProtocol } from '@holdfast/devices/serial/flash/loader-protocol';

export const gatedLoader = (
  loader: LoaderProtocol,
  /** Rejects where nothing may be written. */
  beforeWriting: () => Promise<void>,
): LoaderProtocol => ({
  name: loader.name,
  open: async (port, part, signal) => {
    const opened = await loader.open(port, part, signal);
    return {
      identify: (image, stop) => opened.identify(image, stop),
      transfer: async (image, options) => {
        try {
          await beforeWriting();
        } catch (error) {
          // It was asked for nothing yet; one that does not answer starts the application by itself.
          await opened.leave(options.signal).catch(() => undefined);
          throw error;
        }
        return opened.transfer(image, options);
      },
      leave: (stop) => opened.leave(stop),
      close: () => opened.close(),
    };
  },
});
