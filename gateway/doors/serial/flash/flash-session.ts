/** One time that a line is had for flashing: from its reset to the moment before its driver, and with it the application's hello, has it again. */
import { type FlashBoard, flash } from '@holdfast/devices/serial/flash/flash';
import { gatedLoader } from '@holdfast/devices/serial/flash/gated-loader';
import type { FlashProgress, LoaderProtocol } from '@holdfast/devices/serial/flash/loader-protocol';
import type { LineWork, TakeOverOptions } from '@holdfast/devices/serial/port/serial-line';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Part } from '@holdfast/provisioning/firmware/flash/part';
import type { FlashReports } from './flash-reports.js';
import type { FlashState, LineImage } from './flash-state.js';
import type { FlashOwner } from './flash-tasks.js';
import type { LineImages } from './line-images.js';

export interface FlashSessionDeps {
  readonly line: {
    takeOver<T>(work: LineWork<T>, options: TakeOverOptions): Promise<T>;
  };
  readonly reports: FlashReports;
  readonly images: LineImages;
  readonly loader: LoaderProtocol;
  readonly reset: FlashBoard['reset'];
  /** What the device says it runs, as an image that is here and trusted. */
  readonly running: () => LineImage | null;
  /** Why nothing of the device may be begun, whoever wants it; undefined when it may. */
  readonly forbidden: () => string | undefined;
}

export interface FlashSessionOptions {
  readonly part: Part;
  readonly baudRate: number;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: FlashProgress) => void;
}

/**
 * Resolves when the board holds the image and that is committed. UPDATE_WINDOW_CLOSED where the first byte may not be written, SERIAL_LINE_DOWN,
 * STORE_UNAVAILABLE, FLASH_… where the board is at fault.
 */
export const flashSession = async (
  deps: FlashSessionDeps,
  owner: FlashOwner,
  { part, baudRate, signal, onProgress }: FlashSessionOptions,
): Promise<void> => {
  const { flash: of } = owner.state();
  if (!('image' in of)) return;
  // Before the device is disturbed.
  const image = await deps.images.read(of.image, part, signal);
  const loader = gatedLoader(deps.loader, () => beforeWriting(deps, owner));
  await deps.line.takeOver(
    async (port, stop, show) => {
      await flash(
        { port, reset: deps.reset },
        { loader, part, baudRate, image },
        {
          signal: stop,
          onProgress: (progress) => {
            onProgress(progress);
            show(progress);
            tellProgress(deps.reports, owner.state(), progress);
          },
        },
      );
      await owner.apply({ type: 'written' });
      await tellRestart(deps.reports, owner.state());
    },
    { reason: `flashing ${of.image.version}`, signal },
  );
};

/** That it is written and started; of what ran before, why it is back. */
export const tellRestart = async (
  reports: FlashReports,
  { flash: of }: FlashState,
): Promise<void> => {
  if (of.phase === 'proving') await reports.restarted(of.run);
  else if (of.phase === 'returning') await reports.restarted(of.run, of.why);
};

const tellProgress = (
  reports: FlashReports,
  { flash: of }: FlashState,
  { stage, doneBytes, totalBytes }: FlashProgress,
): void => {
  if (of.phase !== 'writing' || stage !== 'write' || totalBytes === 0) return;
  reports.progress(of.run, Math.floor((100 * doneBytes) / totalBytes));
};

/** From here on there is no way back: what says so is on disk before the first byte is written. */
const beforeWriting = async (
  { reports, running, forbidden }: FlashSessionDeps,
  { state, apply }: FlashOwner,
): Promise<void> => {
  const { flash: of } = state();
  if (of.phase === 'waiting') {
    // Finding the boot loader takes seconds, and a person's wish has no execution that would be asked.
    const closed = of.damage === null ? forbidden() : undefined;
    if (closed !== undefined) throw new HoldfastError('UPDATE_WINDOW_CLOSED', closed);
    const answer = await reports.begin(of.run, { isBegun: of.damage !== null });
    if (answer?.accepted === false) {
      throw new HoldfastError('UPDATE_WINDOW_CLOSED', answer.message);
    }
    if (answer === undefined && of.run.kind === 'job') {
      throw new HoldfastError('RESOURCE_CONFLICT', 'its execution is another by now');
    }
    const { flash: begun } = await apply({ type: 'began', former: state().running ?? running() });
    if (begun.phase !== 'writing') {
      throw new HoldfastError('RESOURCE_CONFLICT', 'it is not to be begun any more');
    }
  } else if (of.phase === 'writing') await reports.writing(of.run);
  else if (of.phase === 'restoring') await reports.restarted(of.run, of.why);
};
