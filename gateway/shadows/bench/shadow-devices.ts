/** Devices as they are in the field: each with its certificate, a session of its own and an ear for its delta. */
import { EventEmitter } from 'node:events';
import type { MqttClient } from 'mqtt';
import type { RunningSite } from '../../trust/site-under-test.js';

export interface ShadowDevice {
  readonly id: string;
  readonly client: MqttClient;
  /** Emits `delta` with the payload. */
  readonly heard: EventEmitter;
}

export interface Delta {
  readonly state: Readonly<Record<string, unknown>>;
}

const enrolledAtOnce = 8;

export const connectCrowd = async (site: RunningSite, count: number): Promise<ShadowDevice[]> => {
  const devices: ShadowDevice[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) {
      next += 1;
      devices.push(await connectDevice(site, `device-${next}`));
    }
  };
  await Promise.all(Array.from({ length: enrolledAtOnce }, lane));
  return devices;
};

const connectDevice = async (site: RunningSite, id: string): Promise<ShadowDevice> => {
  const client = site.connect(await site.enrol(id), { keepalive: 300, reconnectPeriod: 1_000 });
  const heard = new EventEmitter();
  client.on('error', () => undefined);
  client.on('message', (_topic, payload) => heard.emit('delta', JSON.parse(payload.toString())));
  await new Promise<void>((resolve) => client.once('connect', () => resolve()));
  await client.subscribeAsync(`dt/${id}/shadow/delta`, { qos: 1 });
  return { id, client, heard };
};

/** Resolves with the PUBACK: the change is committed. */
export const report = async ({ id, client }: ShadowDevice, reported: object): Promise<void> => {
  const payload = JSON.stringify({ state: { reported } });
  await client.publishAsync(`dt/${id}/shadow/update`, payload, { qos: 1 });
};
