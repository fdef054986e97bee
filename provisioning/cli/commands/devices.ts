/** `holdfast device`: the devices of the sites, or, with --gateway, those of the site one stands at. */
import type { Device } from '@holdfast/protos/gen/holdfast/v1/devices';
import type { Command } from 'commander';
import { parseClaimCode } from '../../pki/claim-code.js';
import { parseCount, parseDevice } from '../arguments.js';
import { type CommandContext, collect, eachPage } from '../context.js';
import { listDevices, resolveDeviceName } from '../device-name.js';
import { ago, type Column } from '../terminal.js';
import { idOf } from './sites.js';

export const addDeviceCommands = (program: Command, context: () => CommandContext): void => {
  const device = program.command('device').description('the devices of the sites');

  device
    .command('claim <id>')
    .description('print a one-time code with which this device enrols at its gateway')
    .option('--site <id>', 'the site it belongs to')
    .action(async (id: string, options: { site?: string }) => {
      const { terminal, cloud, gateway, asksGateway } = context();
      const target = parseDevice(id, options.site);
      const claim = asksGateway
        ? await (await gateway()).createClaim(target.device)
        : await claimThroughCloud(await cloud(), id, options.site);
      terminal.json(claim);
      terminal.line('On the device:');
      // The control plane's code names no gateway: it does not know what the site calls its own.
      const knowsGateway = parseClaimCode(claim.code).address !== undefined;
      const enroll = `holdfast-device enroll ${claim.code}${knowsGateway ? '' : ' --gateway HOST:8443'}`;
      terminal.line(`  ${terminal.paint('bold', enroll)}`);
      if (!knowsGateway) {
        terminal.line(terminal.paint('dim', 'HOST is the gateway as the device reaches it'));
      }
      terminal.line(
        terminal.paint('dim', `valid once, until ${claim.expire_time?.toISOString() ?? '?'}`),
      );
    });

  device
    .command('list')
    .description('every device with its state')
    .option('--site <id>', 'only of this site')
    .action(async (options: { site?: string }) => {
      const { terminal, cloud, gateway, asksGateway, now } = context();
      const rows = asksGateway
        ? await (await gateway()).listDevices()
        : (await listDevices(await cloud(), options.site)).map(rowOf);
      terminal.table(rows, deviceColumns(now()), 'No devices yet: holdfast device claim ID');
    });

  device
    .command('telemetry <device>')
    .description('the points of a device, as they were stored: the oldest first')
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
          });
          return { items: page.points, nextPageToken: '' };
        }),
      );
      terminal.table(
        points,
        [
          { title: 'TIME', value: (point) => point.time?.toISOString() },
          { title: 'SERIES', value: (point) => point.series },
          { title: 'VALUE', value: (point) => point.valueJson },
          { title: 'SEQ', value: (point) => point.seq?.toString() },
        ],
        'No telemetry from this device has reached the control plane yet',
      );
    });
};

/** A device as both APIs show it. */
export interface DeviceRow {
  readonly site: string | undefined;
  readonly device: string;
  readonly model: string;
  readonly firmware_version: string | undefined;
  readonly online: boolean;
  readonly last_seen: Date | undefined;
  readonly door: string;
}

const rowOf = (device: Device): DeviceRow => ({
  site: device.name.split('/')[1],
  device: idOf(device.name),
  model: device.model,
  firmware_version: device.firmwareVersion || undefined,
  online: device.online,
  last_seen: device.lastSeenTime,
  door: device.door,
});

const deviceColumns = (now: number): readonly Column<DeviceRow>[] => [
  { title: 'DEVICE', value: (row) => (row.site ? `${row.site}/${row.device}` : row.device) },
  { title: 'MODEL', value: (row) => row.model },
  { title: 'FIRMWARE', value: (row) => row.firmware_version },
  {
    title: 'STATE',
    value: (row) => (row.online ? '● online' : '○ offline'),
    colour: (row) => (row.online ? 'green' : 'dim'),
  },
  { title: 'LAST SEEN', value: (row) => ago(row.last_seen, now) },
  { title: 'DOOR', value: (row) => row.door },
];

const claimThroughCloud = async (
  client: Awaited<ReturnType<CommandContext['cloud']>>,
  id: string,
  site: string | undefined,
): Promise<{ code: string; expire_time: Date | undefined }> => {
  const name = await resolveDeviceName(client, id, site);
  const [parent, deviceId] = name.split('/devices/');
  const claim = await client.call(client.devices, client.devices.createClaimCode, {
    parent: parent ?? '',
    deviceId: deviceId ?? '',
    lifetimeSeconds: 0,
    model: '',
  });
  return { code: claim.code, expire_time: claim.expireTime };
};
