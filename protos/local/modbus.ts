/** Buses and their units as the local API shows them (`/api/v1/modbus…`). */
import * as v from 'valibot';

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const ms = v.nullable(v.number());

export const modbusBusRow = v.object({
  name: v.string(),
  /** As `/dev/ttyUSB0` or `tcp 192.168.1.20:502`. */
  address: v.string(),
  state: v.picklist(['up', 'down', 'suspended']),
  reason: v.nullable(v.string()),
  next: v.nullable(v.string()),
  requests: count,
  answers: count,
  timeouts: count,
  /** Answers with a wrong checksum, or noise. */
  garbled: count,
  /** By code. */
  exceptions: v.record(v.string(), count),
  /** Answers that came when nobody waited for them, and were dropped. */
  late_replies: count,
  round_trip_p50_ms: ms,
  round_trip_p99_ms: ms,
  load_percent: v.number(),
  units: v.array(
    v.object({
      device: v.string(),
      unit: count,
      map: v.string(),
      model: v.string(),
      online: v.boolean(),
      answers: count,
      unanswered: count,
      /** Registers without a value, and why. */
      problems: v.record(v.string(), v.string()),
    }),
  ),
});
export type ModbusBusRow = v.InferOutput<typeof modbusBusRow>;

/** `GET /api/v1/modbus`. */
export const modbusAnswer = v.object({ buses: v.array(modbusBusRow) });

const value = v.union([v.boolean(), v.number(), v.string()]);

/** `GET /api/v1/modbus/buses/BUS/probe?unit=&kind=&address=&count=`: what some registers hold, and what that could mean. */
export const modbusProbeAnswer = v.object({
  /** What the unit said, where it was no answer; null when it answered. */
  problem: v.nullable(v.string()),
  next: v.nullable(v.string()),
  /** Registers, or coils as 0 and 1. */
  words: v.array(count),
  readings: v.array(
    v.object({
      type: v.string(),
      byte_order: v.string(),
      /** Null where it is none: not a number, no text. */
      value: v.nullable(value),
    }),
  ),
});
export type ModbusProbeAnswer = v.InferOutput<typeof modbusProbeAnswer>;

/** `GET /api/v1/modbus/buses/BUS/scan?from=&to=`: who answers. */
export const modbusScanAnswer = v.object({
  found: v.array(
    v.object({
      unit: count,
      /** The device that it is, if it is one. */
      device: v.nullable(v.string()),
      /** It answered, if only with a no. */
      said: v.string(),
    }),
  ),
});
export type ModbusScanAnswer = v.InferOutput<typeof modbusScanAnswer>;

/** `POST /api/v1/modbus/buses/BUS/settings {unit}`: how fast a unit speaks, and with what parity; nothing is polled meanwhile. */
export const modbusSettingsAnswer = v.object({
  /** Null when it answered to nothing that was tried. */
  found: v.nullable(v.object({ baud_rate: count, parity: v.string(), said: v.string() })),
  /** What the bus is configured for. */
  configured: v.object({ baud_rate: count, parity: v.string() }),
});
export type ModbusSettingsAnswer = v.InferOutput<typeof modbusSettingsAnswer>;

/** `GET /api/v1/modbus/devices/DEVICE/registers?name=`: what the registers of its map hold now. */
export const modbusReadAnswer = v.object({
  registers: v.array(
    v.object({
      name: v.string(),
      kind: v.string(),
      address: count,
      unit: v.string(),
      value: v.nullable(value),
      problem: v.nullable(v.string()),
    }),
  ),
});
export type ModbusReadAnswer = v.InferOutput<typeof modbusReadAnswer>;
