/** A serial line as the local API shows it. */
import { addressText } from '@holdfast/devices/serial/port/port-settings';
import type { LineFlashRow, SerialLineRow } from '@holdfast/protos/local/serial';
import type { LineFlashStatus } from './flash/line-flashing.js';
import type { SerialLineStatus } from './serial-lines.js';

export const serialLineRow = (line: SerialLineStatus): SerialLineRow => {
  const { state } = line;
  const progress = state.state === 'suspended' ? state.progress : undefined;
  return {
    name: line.name,
    driver: line.driver,
    address: addressText(line.address),
    path: line.path,
    state: state.state,
    since: line.since,
    reason: state.state === 'up' ? null : state.reason,
    next: (state.state === 'down' ? state.next : undefined) ?? null,
    progress:
      progress === undefined
        ? null
        : {
            stage: progress.stage,
            done_bytes: progress.doneBytes,
            total_bytes: progress.totalBytes,
          },
    baud_rate: line.settings.baudRate,
    opened: line.opened,
    bytes_in: line.bytesIn,
    bytes_out: line.bytesOut,
    devices: line.devices.map(({ device, isOnline, counts, flash }) => ({
      device,
      online: isOnline,
      dropped_frames: counts.droppedFrames,
      discarded_bytes: counts.discardedBytes,
      others: counts.others ?? {},
      flash: flash === undefined ? null : flashRow(flash),
    })),
  };
};

const flashRow = ({
  protocol,
  part,
  phase,
  version,
  by,
  running,
  trouble,
}: LineFlashStatus): LineFlashRow => ({
  ...{ protocol, part, phase, version, by, running, trouble },
});
