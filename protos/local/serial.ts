/** Serial lines and ports as the local API shows them, and what passes on a line (`/api/v1/serial/…`). */
import * as v from 'valibot';

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** How the flashing of a microcontroller stands. */
export const lineFlashRow = v.object({
  protocol: v.string(),
  /** As avrdude names it. */
  part: v.string(),
  phase: v.picklist([
    'idle',
    'checking',
    'waiting',
    'writing',
    'proving',
    'restoring',
    'returning',
    'settled',
  ]),
  /** What is written; null where nothing is. */
  version: v.nullable(v.string()),
  /** For whom: a campaign, a person, or the board itself. */
  by: v.nullable(v.string()),
  /** What was flashed here and has run since; null where that is not known. */
  running: v.nullable(v.string()),
  /** What is in the way, or how the last attempt ended. */
  trouble: v.nullable(v.string()),
});
export type LineFlashRow = v.InferOutput<typeof lineFlashRow>;

export const serialLineRow = v.object({
  /** As the configuration calls it: its device, or its bus. */
  name: v.string(),
  driver: v.string(),
  /** As the configuration names the port: its path, or `usb 2341:0043`. */
  address: v.string(),
  /** Where it was found last; null where it never was. */
  path: v.nullable(v.string()),
  /** `suspended`: somebody has the port for itself, as for flashing. */
  state: v.picklist(['up', 'down', 'suspended']),
  /** Epoch ms. */
  since: v.number(),
  reason: v.nullable(v.string()),
  /** What to do about it. */
  next: v.nullable(v.string()),
  progress: v.nullable(v.object({ stage: v.string(), done_bytes: count, total_bytes: count })),
  baud_rate: count,
  /** How often it came up since the gateway started. */
  opened: count,
  bytes_in: count,
  bytes_out: count,
  devices: v.array(
    v.object({
      device: v.string(),
      online: v.boolean(),
      dropped_frames: count,
      discarded_bytes: count,
      /** What else the driver counts, by its name. */
      others: v.record(v.string(), v.number()),
      /** Where the gateway flashes it. */
      flash: v.optional(v.nullable(lineFlashRow), null),
    }),
  ),
});
export type SerialLineRow = v.InferOutput<typeof serialLineRow>;

export const serialPortRow = v.object({
  path: v.string(),
  /** As a configuration should name it. */
  address: v.string(),
  /** The kernel's driver. */
  driver: v.string(),
  usb: v.nullable(
    v.object({
      /** `2341:0043`. */
      id: v.string(),
      serial: v.nullable(v.string()),
      title: v.string(),
      socket: v.string(),
    }),
  ),
  /** The line that it is. */
  line: v.nullable(v.string()),
});
export type SerialPortRow = v.InferOutput<typeof serialPortRow>;

/** `GET /api/v1/serial`. */
export const serialAnswer = v.object({
  lines: v.array(serialLineRow),
  /** Of the machine, used or not. */
  ports: v.array(serialPortRow),
});
export type SerialAnswer = v.InferOutput<typeof serialAnswer>;

/** A line of `GET /api/v1/serial/lines/NAME/monitor`. */
export const serialMonitorLine = v.union([
  v.object({ monitoring: v.object({ line: v.string(), state: v.string() }) }),
  v.object({
    /** Epoch ms. */
    at: v.number(),
    /** As the gateway sees it. */
    direction: v.picklist(['in', 'out']),
    /** Base64. */
    data: v.string(),
  }),
  /** What passed while the reader was too slow, and is not shown. */
  v.object({ missed: v.object({ bytes_in: count, bytes_out: count }) }),
  v.object({ state: v.string(), reason: v.nullable(v.string()) }),
  v.object({ alive: v.number() }),
]);
export type SerialMonitorLine = v.InferOutput<typeof serialMonitorLine>;
