/** `holdfast manufacturer`: whose devices may enrol with the certificates that they were made with. */
import { readFile } from 'node:fs/promises';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { Manufacturer } from '@holdfast/protos/gen/holdfast/v1/enrollment';
import type { Command } from 'commander';
import type { CloudClient } from '../cloud-client.js';
import { type CommandContext, collect, eachPage } from '../context.js';
import type { Column } from '../terminal.js';
import { idOf } from './sites.js';

interface AddOptions {
  readonly certificates: string;
  readonly prefix: string;
  readonly model: readonly string[];
  readonly site?: readonly string[];
}

export const addManufacturerCommands = (program: Command, context: () => CommandContext): void => {
  const manufacturer = program
    .command('manufacturer')
    .description('whose devices may enrol with the certificates that they were made with');

  manufacturer
    .command('add <id>')
    .description('let the devices of a manufacturer enrol, or change what it may')
    .requiredOption('--certificates <file>', 'the authorities that sign its devices, in PEM')
    .requiredOption('--prefix <text>', 'every id that it enrols begins with this')
    .requiredOption('--model <name...>', 'the models that it may enrol')
    .option('--site <id...>', 'only at these sites; else at every one')
    .action(async (id: string, options: AddOptions) => {
      const { terminal, cloud } = context();
      const client = await cloud();
      const wanted: Manufacturer = {
        name: `manufacturers/${id}`,
        certificatesPem: await readPem(options.certificates),
        idPrefix: options.prefix,
        models: [...options.model],
        sites: (options.site ?? []).map((site) => `sites/${site}`),
        createTime: undefined,
        expireTime: undefined,
        etag: '',
      };
      const added = await addOrChange(client, id, wanted);
      terminal.json({ ...added, root_sha256: client.rootSha256 });
      const where = added.sites.length === 0 ? 'every site' : added.sites.map(idOf).join(', ');
      terminal.line(
        `${terminal.paint('green', '✓')} ${id} enrols ${added.models.join(', ')} as ${added.idPrefix}… at ${where}`,
      );
      terminal.line(
        terminal.paint('dim', 'from their next plan on: holdfast site list shows which they have'),
      );
      terminal.line('On a device of it:');
      const command = `holdfast-device enroll --certificate CHAIN.pem --key KEY.pem --root ${client.rootSha256} --gateway HOST`;
      terminal.line(`  ${terminal.paint('bold', command)}`);
    });

  manufacturer
    .command('list')
    .description('every manufacturer with what it may enrol')
    .action(async () => {
      const { terminal, cloud, now } = context();
      const client = await cloud();
      const rows = await collect(
        eachPage(async (pageToken) => {
          const page = await client.call(client.enrollment, client.enrollment.listManufacturers, {
            pageSize: 1_000,
            pageToken,
          });
          return { items: page.manufacturers, nextPageToken: page.nextPageToken };
        }),
      );
      terminal.table(rows, columns(now()), 'No manufacturers yet: holdfast manufacturer add ID');
    });

  manufacturer
    .command('remove <id>')
    .description('let no more of its devices enrol; those that have stay')
    .action(async (id: string) => {
      const { terminal, cloud } = context();
      const client = await cloud();
      const name = `manufacturers/${id}`;
      await client.call(client.enrollment, client.enrollment.deleteManufacturer, {
        name,
        etag: '',
      });
      terminal.json({ name });
      terminal.line(`${terminal.paint('green', '✓')} ${id} enrols no more devices`);
      terminal.line(
        terminal.paint('dim', 'what a site has not told of yet is revoked when it does'),
      );
    });
};

/** The same command again, with a model more or a new authority, changes what there is. */
const addOrChange = async (
  client: CloudClient,
  manufacturerId: string,
  manufacturer: Manufacturer,
): Promise<Manufacturer> => {
  const { enrollment } = client;
  try {
    return await client.call(enrollment, enrollment.createManufacturer, {
      manufacturerId,
      manufacturer,
    });
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'RESOURCE_EXISTS') throw error;
    return client.call(enrollment, enrollment.updateManufacturer, {
      manufacturer,
      updateMask: [],
    });
  }
};

const readPem = async (path: string): Promise<string> => {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new HoldfastError('REQUEST_INVALID', `${path} cannot be read: ${messageOf(cause)}`, {
      cause,
    });
  }
};

const monthMs = 30 * 86_400_000;

const columns = (now: number): readonly Column<Manufacturer>[] => [
  { title: 'MANUFACTURER', value: (row) => idOf(row.name) },
  { title: 'IDS', value: (row) => `${row.idPrefix}…` },
  { title: 'MODELS', value: (row) => row.models.join(', ') },
  { title: 'SITES', value: (row) => row.sites.map(idOf).join(', ') || 'every' },
  {
    title: 'AUTHORITY UNTIL',
    value: (row) => row.expireTime?.toISOString().slice(0, 10),
    colour: (row) => (Number(row.expireTime ?? 0) < now + monthMs ? 'yellow' : undefined),
  },
];
