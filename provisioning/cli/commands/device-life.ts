/** `holdfast device …` for what becomes of devices: their certificates, and where their lives stand; with --gateway at the site itself. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type Device, LifecycleAction } from '@holdfast/protos/gen/holdfast/v1/devices';
import { lifecycleActions } from '@holdfast/protos/semantics/lifecycle';
import { revocationReasons } from '@holdfast/protos/semantics/revocation-reason';
import { type Command, Option } from 'commander';
import { type CommandContext, collect, eachPage } from '../context.js';
import { deviceAtGateway, resolveDeviceName } from '../device-name.js';
import { ago } from '../terminal.js';

export const addDeviceLifeCommands = (
  device: Command,
  context: () => CommandContext,
  rowOf: (device: Device) => object,
): void => {
  device
    .command('certificates <device>')
    .description('the certificates of a device, the newest first')
    .option('--site <id>', 'the site of the device')
    .action(async (id: string, options: { site?: string }) => {
      const { terminal, asksGateway, gateway, now } = context();
      const rows = asksGateway
        ? await (await gateway()).listCertificates(
            await deviceAtGateway(await gateway(), id, options.site),
          )
        : await listCertificates(context(), id, options.site);
      terminal.table(
        rows,
        [
          { title: 'SERIAL', value: (row) => row.serial },
          { title: 'ISSUED', value: (row) => ago(row.issue_time, now()) },
          { title: 'EXPIRES', value: (row) => row.expire_time?.toISOString().slice(0, 10) },
          {
            title: 'REVOKED',
            value: (row) =>
              row.revoke_time && `${ago(row.revoke_time, now())} (${row.revocation_reason})`,
          },
        ],
        'None is known',
      );
    });

  device
    .command('revoke <device>')
    .description('revoke its certificates: it is cut at once, and needs a new code to come back')
    .option('--site <id>', 'the site of the device')
    .option('--serial <hex>', 'this certificate alone')
    .addOption(
      new Option('--reason <reason>', 'why, as its site and the revocation list say it').choices(
        revocationReasons,
      ),
    )
    .action(async (id: string, options: { site?: string; serial?: string; reason?: string }) => {
      const { terminal, asksGateway, gateway, cloud } = context();
      const { serial, reason } = options;
      let revoked: readonly string[];
      if (asksGateway) {
        const client = await gateway();
        const device = await deviceAtGateway(client, id, options.site);
        revoked = await client.revokeCertificates(device, { serial, reason });
      } else {
        const client = await cloud();
        const name = await resolveDeviceName(client, id, options.site);
        const request = { name, serial: serial ?? '', reason: reason ?? '' };
        const { devices } = client;
        revoked = (await client.call(devices, devices.revokeDeviceCertificates, request)).serials;
      }
      terminal.json({ revoked });
      if (revoked.length === 0) {
        terminal.line('Nothing was left to revoke');
        return;
      }
      for (const one of revoked) terminal.line(`${terminal.paint('green', '✓')} ${one} revoked`);
      if (!asksGateway) terminal.line('  its site refuses it from when it has its new plan');
      terminal.line(
        `  to let it come back: holdfast ${asksGateway ? '--gateway ' : ''}device claim ${id}`,
      );
    });

  for (const action of lifecycleActions) {
    device
      .command(`${action} <device>`)
      .description(descriptions[action])
      .option('--site <id>', 'the site of the device')
      .option('--reason <text>', 'why, for the journal')
      .action(async (id: string, options: { site?: string; reason?: string }) => {
        const { terminal, asksGateway, gateway, cloud } = context();
        const { reason = '' } = options;
        if (asksGateway) {
          const client = await gateway();
          const device = await deviceAtGateway(client, id, options.site);
          const after = await client.changeLifecycle(device, action, reason);
          terminal.json(after);
          terminal.line(`${terminal.paint('green', '✓')} ${device} is ${after.state}`);
          return;
        }
        const client = await cloud();
        const changed = await client.call(client.devices, client.devices.changeDeviceLifecycle, {
          name: await resolveDeviceName(client, id, options.site),
          action: actions[action],
          reason,
        });
        terminal.json(rowOf(changed));
        terminal.line(`${terminal.paint('green', '✓')} ${action}: its site has it with its plan`);
        terminal.line('  next: holdfast device list');
      });
  }

  device
    .command('delete <device>')
    .description('revoke it, and have its site forget it')
    .option('--site <id>', 'the site of the device')
    .action(async (id: string, options: { site?: string }) => {
      const { terminal, cloud, asksGateway } = context();
      if (asksGateway) {
        throw new HoldfastError(
          'REQUEST_INVALID',
          'only the control plane deletes devices: at the site, retire it',
          { data: { next: `holdfast --gateway device retire ${id}` } },
        );
      }
      const client = await cloud();
      const name = await resolveDeviceName(client, id, options.site);
      await client.call(client.devices, client.devices.deleteDevice, { name, etag: '' });
      terminal.json({ deleted: name });
      terminal.line(`${terminal.paint('green', '✓')} ${id} is deleted`);
    });
};

const descriptions = {
  enable: 'let a disabled device in again',
  disable: 'refuse it at every door until it is enabled; what waits for it is kept',
  retire: 'revoke it for good: only a new code brings its id back',
} as const;

const actions = {
  enable: LifecycleAction.LIFECYCLE_ACTION_ENABLE,
  disable: LifecycleAction.LIFECYCLE_ACTION_DISABLE,
  retire: LifecycleAction.LIFECYCLE_ACTION_RETIRE,
} as const;

/** A certificate as both APIs show it. */
export interface CertificateRow {
  readonly serial: string;
  readonly issue_time: Date | undefined;
  readonly expire_time: Date | undefined;
  readonly revoke_time: Date | undefined;
  readonly revocation_reason: string | undefined;
}

const listCertificates = async (
  { cloud }: CommandContext,
  id: string,
  site: string | undefined,
): Promise<CertificateRow[]> => {
  const client = await cloud();
  const parent = await resolveDeviceName(client, id, site);
  const certificates = await collect(
    eachPage(async (pageToken) => {
      const page = await client.call(client.devices, client.devices.listDeviceCertificates, {
        parent,
        pageSize: 1000,
        pageToken,
      });
      return { items: page.certificates, nextPageToken: page.nextPageToken };
    }),
  );
  return certificates.map((one) => ({
    serial: one.serial,
    issue_time: one.issueTime,
    expire_time: one.expireTime,
    revoke_time: one.revokeTime,
    revocation_reason: one.revocationReason || undefined,
  }));
};
