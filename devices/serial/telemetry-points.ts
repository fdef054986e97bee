import type { TelemetryPoint } from '@holdfast/protos/mqtt/telemetry-payload';
import type { TelemetryFrame } from './frames.js';

/** The points of a frame: what a value does not say itself, its frame or the device's hello says; a batch's `seq` counts up. */
export const telemetryPoints = (
  frame: TelemetryFrame,
  helloBoot: string | undefined,
): readonly TelemetryPoint[] => {
  const boot = frame.boot ?? helloBoot;
  const values: readonly Omit<TelemetryPoint, 'boot'>[] =
    frame.values ?? (frame.value === undefined ? [] : [{ value: frame.value }]);
  return values.map((item, index) => {
    const ts = item.ts ?? frame.ts;
    const seq = item.seq ?? (frame.seq === undefined ? undefined : frame.seq + index);
    return {
      value: item.value,
      ...(ts === undefined ? {} : { ts }),
      // A seq counts within a boot, so neither goes without the other.
      ...(boot === undefined || seq === undefined ? {} : { boot, seq }),
    };
  });
};
