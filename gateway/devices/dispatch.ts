/** Takes what devices say to the services it concerns: the one place that knows who wants to hear what. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { isWired } from '@holdfast/protos/link/door';
import type { CommandResponsePayload } from '@holdfast/protos/mqtt/command-payload';
import type { JobUpdateRequest } from '@holdfast/protos/mqtt/job-payload';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import type { StampingClock } from '@holdfast/provisioning/time/clock';
import type { ShadowOutcome, ShadowRequest } from '../shadows/shadows.js';
import type { TelemetryPoint } from '../telemetry/point.js';
import { ArrivalTimes } from './arrival-times.js';
import type { DeviceFacts } from './device.js';
import type {
  DeviceEvent,
  DeviceEventAnswers,
  DispatchDeviceEvent,
  Door,
  HeartbeatSent,
  JobAnswer,
  JobUpdated,
  SessionChanged,
  StatusSent,
  TelemetrySent,
} from './device-events.js';
import type { Vouched } from './devices.js';

export interface DispatchDeps {
  readonly devices: {
    connected(device: string, session: string, facts?: DeviceFacts): void;
    disconnected(device: string, session: string): void;
    seen(device: string): void;
    learned(device: string, facts: DeviceFacts): void;
    vouch(vouched: Vouched): Promise<void>;
  };
  readonly telemetry: {
    /** Throws for what is no point. */
    record(points: readonly TelemetryPoint[]): Promise<void>;
  };
  readonly shadows: { request(request: ShadowRequest): Promise<ShadowOutcome> };
  readonly updates: {
    asked(device: string, job: string | null, door: Door): Promise<JobAnswer>;
    updated(device: string, job: string, update: JobUpdateRequest, door: Door): Promise<JobAnswer>;
    reported(event: StatusSent): Promise<void>;
    seen(device: string, door: Door, boot: string, version: string | null): Promise<void>;
  };
  readonly commands: {
    answered(device: string, command: string, response: CommandResponsePayload): Promise<void>;
  };
  readonly clock: StampingClock;
}

export const createDispatch = (deps: DispatchDeps): DispatchDeviceEvent => {
  const { devices, updates, commands } = deps;
  const { clock } = deps;
  const arrivals = new ArrivalTimes();
  const uptimes = new ArrivalTimes();

  const session = async (event: SessionChanged): Promise<void> => {
    const { device, door, model, serialNo, firmwareVersion } = event;
    if (!event.connected) return devices.disconnected(device, event.session);
    if (isWired(door)) {
      await devices.vouch({ device, model: model ?? '', serialNo: serialNo ?? '', door });
    }
    devices.connected(device, event.session, {
      ...(door === undefined ? {} : { door }),
      ...(model === undefined ? {} : { model }),
      ...(serialNo === undefined ? {} : { serialNo }),
      ...(firmwareVersion === undefined ? {} : { firmwareVersion }),
      ...(isWired(door) ? { boot: event.session } : {}),
    });
    // On the native topics a connection says nothing of a restart.
    const seenAt = isWired(door) ? door : 'devices';
    await updates.seen(device, seenAt, event.session, firmwareVersion ?? null);
  };

  const heartbeat = async (event: HeartbeatSent): Promise<void> => {
    const { device, model, serialNo, firmwareVersion } = event;
    await updates.seen(device, 'devices', event.session, firmwareVersion);
    devices.learned(device, { door: 'devices', model, serialNo, firmwareVersion });
  };

  const jobUpdated = async ({
    device,
    job,
    update,
    door = 'native',
  }: JobUpdated): Promise<JobAnswer> => {
    const answer = await updates.updated(device, job, update, door);
    devices.learned(device, {
      door,
      ...(update.boot_id === undefined ? {} : { boot: update.boot_id }),
      ...(update.version === undefined ? {} : { firmwareVersion: update.version }),
    });
    return answer;
  };

  const report = async (device: string, reported: JsonObject): Promise<void> => {
    const outcome = await deps.shadows.request({
      device,
      name: classicShadow,
      type: 'update',
      patch: { reported },
      writer: `device:${device}`,
    });
    if (outcome.accepted) return devices.seen(device);
    const code = outcome.code === 429 ? 'STORE_OVERLOADED' : 'REQUEST_INVALID';
    throw new HoldfastError(code, outcome.message);
  };

  const handle = async (
    event: Exclude<DeviceEvent, TelemetrySent>,
  ): Promise<JobAnswer | undefined> => {
    const { device } = event;
    switch (event.type) {
      case 'session':
        await session(event);
        return undefined;
      case 'heartbeat':
        await heartbeat(event);
        return undefined;
      case 'status':
        devices.learned(device, { door: 'devices' });
        await updates.reported(event);
        return undefined;
      case 'state_reported':
        await report(device, event.state);
        return undefined;
      case 'setting_changed':
        await report(device, { [event.setting]: event.newValue ?? null });
        return undefined;
      case 'job_asked': {
        const { job, door = 'native' } = event;
        devices.learned(device, { door });
        return updates.asked(device, job, door);
      }
      case 'job_updated':
        return jobUpdated(event);
      case 'command_answered':
        await commands.answered(device, event.command, event.response);
        devices.seen(device);
        return undefined;
    }
  };
  const timed = ({ device, series, points }: TelemetrySent): TelemetryPoint[] => {
    const now = clock.now();
    return points.map((point) => ({
      ...point,
      device,
      series,
      ts: point.ts ?? arrivals.next(device, series, now),
    }));
  };

  /** What a device says of time is its own. For the rest nobody vouches: once the time is known, the stamps say when it was. */
  const stamped = ({ device, series, points }: TelemetrySent): TelemetryPoint[] => {
    const [now, uptime] = [clock.now(), Math.floor(clock.monotonic())];
    return points.map((point) => {
      if (point.ts !== undefined) return { ...point, device, series, ts: point.ts };
      const mono = uptimes.next(device, series, uptime);
      const stamp = { boot: clock.boot, mono };
      return { ...point, device, series, ts: now + (mono - uptime), stamp };
    });
  };

  /** Nearly all of the traffic: it goes on without a promise of its own for every message. */
  const telemetry = (event: TelemetrySent): Promise<void> => {
    devices.seen(event.device);
    return deps.telemetry.record(clock.trusted ? timed(event) : stamped(event));
  };

  return <E extends DeviceEvent>(event: E) =>
    // Each branch gives what DeviceEventAnswers says for its type.
    (event.type === 'telemetry' ? telemetry(event) : handle(event)) as Promise<
      DeviceEventAnswers[E['type']]
    >;
};
