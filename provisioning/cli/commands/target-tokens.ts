/** `holdfast --gateway device token`: with which a client of hawkBit's device interface (SWUpdate, rauc-hawkbit-updater) is let in. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { Command } from 'commander';
import * as v from 'valibot';
import type { CommandContext } from '../context.js';
import { deviceAtGateway } from '../device-name.js';
import { openSecretFile } from '../secret-file.js';

interface TokenOptions {
  readonly site?: string;
  readonly model?: string;
  readonly revoke?: boolean;
  readonly swupdate?: string;
}

const madeAnswer = v.looseObject({
  device: v.string(),
  token: v.string(),
  replaced: v.boolean(),
  enrolled: v.boolean(),
  url: v.string(),
  tenant: v.string(),
  root: v.string(),
});
type Made = v.InferOutput<typeof madeAnswer>;

/** Where SWUpdate looks for it on the device. */
const rootOnDevice = '/etc/swupdate/holdfast-root.pem';

export const addTargetTokenCommand = (device: Command, context: () => CommandContext): void => {
  device
    .command('token <device>')
    .description('make the token with which SWUpdate or another client of hawkBit is let in')
    .option('--site <id>', 'the site of the device')
    .option('--model <name>', 'what it is; a device that is not known is enrolled as such')
    .option('--revoke', 'take the one that it has instead')
    .option(
      '--swupdate <folder>',
      "write what SWUpdate needs: its configuration and the fleet's root",
    )
    .action(async (id: string, options: TokenOptions) => {
      const { terminal, asksGateway, gateway } = context();
      if (!asksGateway) {
        throw new HoldfastError('REQUEST_INVALID', 'tokens are made at the gateway of a site', {
          data: { next: `holdfast --gateway device token ${id}` },
        });
      }
      const client = await gateway();
      const name = await deviceAtGateway(client, id, options.site);
      const path = `/devices/${encodeURIComponent(name)}/token`;
      if (options.revoke === true) {
        await client.delete(path);
        terminal.json({ revoked: name });
        terminal.line(`${terminal.paint('green', '✓')} the token of ${name} holds no longer`);
        return;
      }
      const { model, swupdate } = options;
      if (swupdate !== undefined) await makeFolder(swupdate);
      const made = v.parse(
        madeAnswer,
        await client.post(path, model === undefined ? {} : { model }),
      );
      const files = swupdate === undefined ? undefined : await writeFiles(swupdate, made);
      terminal.json({ ...made, files });
      terminal.line(
        `${terminal.paint('green', '✓')} ${name} is let in by this token, which is shown once${made.enrolled ? '; it is enrolled' : ''}`,
      );
      terminal.line(`  ${terminal.paint('bold', made.token)}`);
      if (made.replaced) terminal.line('  the one that it had holds no longer');
      terminal.line(`  server ${made.url}, tenant ${made.tenant}`);
      if (files === undefined) {
        terminal.line(
          terminal.paint('dim', `  with --swupdate FOLDER: SWUpdate's configuration, and the root`),
        );
        return;
      }
      terminal.line('next:');
      terminal.line(`  scp ${files.join(' ')} root@${name}:/etc/swupdate/`);
      terminal.line(
        '  on the device: swupdate -f /etc/swupdate/swupdate.cfg -k RELEASE.pem -e stable,main -H BOARD:REVISION -u ""',
      );
    });
};

const makeFolder = async (folder: string): Promise<void> => {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw new HoldfastError('REQUEST_INVALID', `${folder} cannot be made: ${messageOf(cause)}`, {
      cause,
    });
  }
};

const writeFiles = async (folder: string, made: Made): Promise<string[]> => {
  const settings = join(folder, 'swupdate.cfg');
  const root = join(folder, 'holdfast-root.pem');
  const file = await openSecretFile(settings);
  try {
    await file.writeFile(swupdateConfiguration(made));
  } finally {
    await file.close();
  }
  await writeFile(root, made.root);
  return [settings, root];
};

export interface SwupdateAccess extends Pick<Made, 'url' | 'tenant' | 'device' | 'token'> {
  /** Path of the fleet's root on the device. */
  readonly cafile?: string;
}

/** Pure. What SWUpdate reads with `-f` (libconfig). */
export const swupdateConfiguration = ({
  url,
  tenant,
  device,
  token,
  cafile = rootOnDevice,
}: SwupdateAccess): string => `globals : {
  loglevel = 3;
};
suricatta : {
  tenant = "${tenant}";
  id = "${device}";
  url = "${url}";
  targettoken = "${token}";
  cafile = "${cafile}";
};
`;
