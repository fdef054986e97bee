/** A serial line in a few words. */
import type { SerialLineRow } from '@holdfast/protos/local/serial';

/** As `/dev/ttyUSB0 up`, `down: it is not there`, `flashing 2.0.0 (write 40 %)`. */
export const lineText = (line: SerialLineRow): string =>
  `${line.path ?? line.address} ${stateText(line)}`;

export const stateText = ({ state, reason, next, progress, devices }: SerialLineRow): string => {
  if (state === 'down') {
    const why = reason === null ? '' : `: ${reason}`;
    return `down${why}${next === null ? '' : ` (${next})`}`;
  }
  if (state === 'suspended') {
    return `${reason ?? 'in use'}${progress === null ? '' : ` (${progressText(progress)})`}`;
  }
  const silent = devices.filter(({ online }) => !online).map(({ device }) => device);
  if (silent.length === 0) return 'up';
  return devices.length === 1 ? 'up, the device is silent' : `up, silent: ${silent.join(', ')}`;
};

export const progressText = ({
  stage,
  done_bytes: done,
  total_bytes: total,
}: NonNullable<SerialLineRow['progress']>): string =>
  total === 0 ? stage : `${stage} ${String(Math.floor((100 * done) / total))} %`;
