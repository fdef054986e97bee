/** `holdfast device`: the devices of the sites, or, with --gateway, those of the site one stands at. */
import {
  type Device,
  LifecycleAction,
  LifecycleState,
  lifecycleActionToJSON,
  lifecycleStateToJSON,
} from '@holdfast/protos/gen/holdfast/v1/devices';
import type { Command } from 'commander';
import { parseCount } from '../arguments.js';
import type { CloudClient } from '../cloud-client.js';
import { type CommandContext, collect, eachPage } from '../context.js';
import { deviceAtGateway, listDevices, resolveDeviceName } from '../device-name.js';
import { inNaturalOrder } from '../natural-order.js';
import { ago, type Column } from '../terminal.js';
import { addClaimCommands } from './claims.js';
import { addLabelCommand } from './device-labels.js';
import { addDeviceLifeCommands } from './device-life.js';
import { addFlashCommand } from './flash-device.js';
import { addImportCommand } from './import-devices.js';
import { idOf } from './sites.js';
import { addTargetTokenCommand } from './target-tokens.js';

export const addDeviceCommands = (program: Command, context: () => CommandContext): void => {
  const device = program.command('device').description('the devices of the sites');

  addClaimCommands(device, context);
  addImportCommand(device, context);
  addLabelCommand(device, context);
  addTargetTokenCommand(device, context);
  addFlashCommand(device, context);

  device
    .command('list')
    .description('every device with its state')
    .option('--site <id>', 'only of this site')
    .action(async (options: { site?: string }) => {
      const { terminal, cloud, gateway, asksGateway, now } = context();
      const rows = asksGateway
        ? await (await gateway()).listDevices()
        : (await listDevices(await cloud(), options.site)).map(rowOf);
      terminal.table(
        inNaturalOrder(rows, nameOf),
        deviceColumns(now()),
        'No devices yet: holdfast device claim ID',
      );
    });

  device
    .command('get <device>')
    .description('one device')
    .option('--site <id>', 'the site of the device')
    .action(async (id: string, options: { site?: string }) => {
      const { terminal, cloud, gateway, asksGateway, now } = context();
      const row = asksGateway
        ? await (await gateway()).getDevice(
            await deviceAtGateway(await gateway(), id, options.site),
          )
        : await getDevice(await cloud(), id, options.site);
      terminal.fields(row, [
        ['device', nameOf(row)],
        ['model', row.model],
        ['serial number', row.serial_no],
        ['firmware', row.firmware_version],
        ['hardware', row.hardware],
        ['state', row.online ? 'online' : 'offline'],
        ['last seen', ago(row.last_seen, now())],
        ['door', row.door],
        ['life', row.lifecycle],
        ['enrolled', row.enroll_time?.toISOString()],
        ['enrolment', enrolmentOf(row)],
        ...Object.entries(row.labels).map(([key, value]) => [`label ${key}`, value] as const),
      ]);
    });

  device
    .command('telemetry <device>')
    .description('the last points of a device, the newest first')
    .option('--site <id>', 'the site of the device')
    .option('--count <n>', 'how many at most (20)', parseCount('count', 1))
    .action(async (id: string, options: { site?: string; count?: number }) => {
      const { terminal, cloud } = context();
      const client = await cloud();
      const parent = await resolveDeviceName(client, id, options.site);
      const wanted = options.count ?? 20;
      const points = await collect(
        eachPage(async (pageToken) => {
          const page = await client.call(client.devices, client.devices.listTelemetry, {
            parent,
            pageSize: wanted,
            pageToken,
            orderBy: 'arrival desc',
          });
          return { items: page.points, nextPageToken: '' };
        }),
      );
      terminal.table(
        points,
        [
          {
            title: 'TIME',
            value: (point) => `${point.time?.toISOString() ?? ''}${point.timeIsGuess ? ' ?' : ''}`,
          },
          { title: 'SERIES', value: (point) => point.series },
          { title: 'VALUE', value: (point) => point.valueJson },
          { title: 'SEQ', value: (point) => point.seq?.toString() },
        ],
        'No telemetry from this device has reached the control plane yet',
      );
    });

  addDeviceLifeCommands(device, context, rowOf);
};

/** A device as both APIs show it. */
export interface DeviceRow {
  readonly site: string | undefined;
  readonly device: string;
  readonly model: string;
  readonly firmware_version: string | undefined;
  /** The revision of its hardware, as the device says itself; known at its gateway alone. */
  readonly hardware: string | undefined;
  readonly online: boolean;
  readonly last_seen: Date | undefined;
  readonly door: string;
  readonly serial_no: string;
  readonly enroll_time: Date | undefined;
  /** When the control plane found that its enrolment stands; undefined at the gateway. */
  readonly confirm_time: Date | undefined;
  /** Why it does not. */
  readonly enrollment_problem: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** Where its life stands; undefined where its site is too old to say. */
  readonly lifecycle: string | undefined;
}

const nameOf = ({ site, device }: DeviceRow): string =>
  site === undefined ? device : `${site}/${device}`;

const enrolmentOf = ({ confirm_time, enrollment_problem }: DeviceRow): string | undefined => {
  if (enrollment_problem !== undefined) return `refused: ${enrollment_problem}`;
  return confirm_time && `confirmed ${confirm_time.toISOString()}`;
};

const getDevice = async (
  client: CloudClient,
  id: string,
  site: string | undefined,
): Promise<DeviceRow> => {
  const name = await resolveDeviceName(client, id, site);
  return rowOf(await client.call(client.devices, client.devices.getDevice, { name }));
};

const rowOf = (device: Device): DeviceRow => ({
  site: device.name.split('/')[1],
  device: idOf(device.name),
  model: device.model,
  firmware_version: device.firmwareVersion || undefined,
  hardware: undefined,
  online: device.online,
  last_seen: device.lastSeenTime,
  door: device.door,
  serial_no: device.serialNo,
  enroll_time: device.enrollTime,
  confirm_time: device.confirmTime,
  enrollment_problem: device.enrollmentProblem || undefined,
  labels: device.labels,
  lifecycle: lifecycleOf(device),
});

const lifecycleOf = ({ lifecycleState, pendingAction }: Device): string | undefined => {
  if (lifecycleState === LifecycleState.LIFECYCLE_STATE_UNSPECIFIED) return undefined;
  const state = lifecycleStateToJSON(lifecycleState).replace('LIFECYCLE_STATE_', '').toLowerCase();
  if (pendingAction === LifecycleAction.LIFECYCLE_ACTION_UNSPECIFIED) return state;
  const action = lifecycleActionToJSON(pendingAction).replace('LIFECYCLE_ACTION_', '');
  return `${state} (${action.toLowerCase()} is on its way)`;
};

const deviceColumns = (now: number): readonly Column<DeviceRow>[] => [
  { title: 'DEVICE', value: nameOf },
  { title: 'MODEL', value: (row) => row.model },
  { title: 'FIRMWARE', value: (row) => row.firmware_version },
  {
    title: 'STATE',
    value: (row) => (row.enrollment_problem ? '✗ refused' : row.online ? '● online' : '○ offline'),
    colour: (row) => (row.enrollment_problem ? 'red' : row.online ? 'green' : 'dim'),
  },
  { title: 'LAST SEEN', value: (row) => ago(row.last_seen, now) },
  { title: 'LIFE', value: (row) => row.lifecycle },
  { title: 'DOOR', value: (row) => row.door },
];
