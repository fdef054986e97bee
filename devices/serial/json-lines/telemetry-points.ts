import type { TelemetryPoint } from '@holdfast/protos/mqtt/telemetry-payload';
import type { TelemetryFrame } from '../frames.js';

/** The points of a frame: what a value does not say itself, its frame or the device's hello says; a batch's `seq` counts up. */
export const telemetryPoints = (
  frame: TelemetryFrame,
  helloBoot: string | undefined,
): readonly TelemetryPoint[] => {
  const boot = frame.boot ?? helloBoot;
  const values: readonly Omit<TelemetryPoint, 'boot'>[] =
    frame.values ?? (frame.value === undefined ? [] : [{ value: frame.value }]);
  return values.map((item, index) => {
    const seq = item.seq ?? numberAt(frame.seq, index);
    // A seq counts within a boot, so neither goes without the other.
    const isNumbered = boot !== undefined && seq !== undefined;
    // What has no number counts once by its time.
    const ts = item.ts ?? (isNumbered ? frame.ts : numberAt(frame.ts, index));
    return {
      value: item.value,
      ...(ts === undefined ? {} : { ts }),
      ...(isNumbered ? { boot, seq } : {}),
    };
  });
};

const numberAt = (first: number | undefined, index: number): number | undefined =>
  first === undefined ? undefined : first + index;
