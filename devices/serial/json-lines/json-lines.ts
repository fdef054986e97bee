/** The driver of the line-JSON protocol (PROTOCOL.md), which has one device a line. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import * as v from 'valibot';
import type { SerialDriver } from '../serial-driver.js';
import { SerialDevice } from './serial-device.js';

const milliseconds = (usual: number) =>
  v.optional(v.pipe(v.number(), v.integer(), v.minValue(10), v.maxValue(3_600_000)), usual);

const options = v.optional(
  v.strictObject({
    /** Silence after which the device is asked whether it is there. */
    pingAfterMs: milliseconds(15_000),
    /** Silence after which it counts as offline. */
    offlineAfterMs: milliseconds(45_000),
    maxLineBytes: v.optional(
      v.pipe(v.number(), v.integer(), v.minValue(256), v.maxValue(65_536)),
      4_096,
    ),
  }),
  {},
);

export const jsonLines: SerialDriver<v.InferOutput<typeof options>> = {
  name: 'json-lines',
  options,
  attach(line, devices, given) {
    const [device] = devices;
    if (device === undefined || devices.length > 1) {
      throw new HoldfastError(
        'CONFIGURATION_INVALID',
        `line ${line.name}: json-lines serves one device a line, not ${String(devices.length)}`,
      );
    }
    const serial = new SerialDevice(device.handlers, { ...given, deviceId: device.id });
    line.listen(serial);
    return [serial];
  },
};
