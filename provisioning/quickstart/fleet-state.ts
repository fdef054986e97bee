/** What a fleet remembers from one start to the next: its ports, and how far its enrolment has come. */
import { join } from 'node:path';
import * as v from 'valibot';
import { freePorts } from '../program/free-port.js';
import { openRecord, type StoredRecord } from '../storage/record.js';
import type { StoreLog } from '../storage/store.js';

const portNames = ['grpc', 'link', 'https', 'mqtts', 'devices', 'console', 'meter'] as const;
export type PortName = (typeof portNames)[number];

const stateSchema = v.object({
  ports: v.record(v.string(), v.number()),
  isLoggedIn: v.boolean(),
  isGatewayEnrolled: v.boolean(),
  enrolled: v.array(v.string()),
  hasSigningKeys: v.exactOptional(v.boolean()),
});
export type FleetState = v.InferOutput<typeof stateSchema>;

export type FleetRecord = StoredRecord<FleetState>;

export const openFleetState = async (
  dataDirectory: string,
  log: StoreLog,
): Promise<FleetRecord> => {
  const record = await openRecord<FleetState>({
    path: join(dataDirectory, 'quickstart.json'),
    parse: v.parser(stateSchema),
    initial: { ports: {}, isLoggedIn: false, isGatewayEnrolled: false, enrolled: [] },
    log,
  });
  await choosePorts(record);
  return record;
};

/** Free ports, chosen once: devices and gateway remember where they enrolled. */
const choosePorts = async (state: FleetRecord): Promise<void> => {
  const names = portNames.filter((name) => state.data.ports[name] === undefined);
  if (names.length === 0) return;
  const ports = await freePorts(names.length);
  const chosen = Object.fromEntries(names.map((name, index) => [name, ports[index] ?? 0]));
  await state.update((now) => ({ ...now, ports: { ...now.ports, ...chosen } }));
};
