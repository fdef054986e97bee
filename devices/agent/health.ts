/** The health of this machine, read through `systeminformation`: only what it can measure, each number within a deadline. */
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import { cpuTemperature, currentLoad, fsSize, mem } from 'systeminformation';

/** By series: `cpu_temperature` in °C, the others in percent. */
export type HealthReading = Readonly<Record<string, number>>;

const timeoutMs = 10_000;

export const readHealth = async (dataDir: string): Promise<HealthReading> => {
  const [temperature, load, memory, disk] = await Promise.all([
    measure(async () => (await cpuTemperature()).main),
    measure(async () => (await currentLoad()).currentLoad),
    measure(async () => {
      const { available, total } = await mem();
      return (1 - available / total) * 100;
    }),
    measure(() => diskUse(dataDir)),
  ]);
  const all = { cpu_temperature: temperature, load, memory_used: memory, disk_used: disk };
  return Object.fromEntries(
    Object.entries(all).flatMap(([series, value]) =>
      value === null ? [] : [[series, Math.round(value * 100) / 100]],
    ),
  );
};

/** Of the file system that holds our data: the longest mount point that leads there. */
const diskUse = async (path: string): Promise<number | null> => {
  const systems = (await fsSize()).filter(({ mount }) => path.startsWith(mount));
  const [nearest] = systems.sort((one, other) => other.mount.length - one.mount.length);
  return nearest?.use ?? null;
};

/** A machine without the sensor has no number for it. */
const measure = async (read: () => Promise<number | null>): Promise<number | null> => {
  const value = await withDeadline(read(), timeoutMs).catch(() => null);
  return value !== null && Number.isFinite(value) ? value : null;
};
