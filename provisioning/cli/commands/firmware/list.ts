/** `firmware list`. */
import type { FirmwareImage } from '@holdfast/protos/gen/holdfast/v1/firmware';
import { type CommandContext, collect, eachPage } from '../../context.js';
import { inNaturalOrder } from '../../natural-order.js';
import { ago, bytes } from '../../terminal.js';
import { idOf } from '../sites.js';

export const listFirmware = async ({ terminal, cloud, now }: CommandContext): Promise<void> => {
  const client = await cloud();
  const images = await collect(
    eachPage(async (pageToken) => {
      const page = await client.call(client.firmware, client.firmware.listFirmware, {
        pageSize: 1000,
        pageToken,
      });
      return { items: page.firmware, nextPageToken: page.nextPageToken };
    }),
  );
  terminal.table(
    inNaturalOrder(images, ({ name }) => name),
    [
      { title: 'FIRMWARE', value: (image) => idOf(image.name) },
      { title: 'SIZE', value: (image) => bytes(Number(image.sizeBytes)) },
      { title: 'SHA-256', value: (image) => `${image.sha256.slice(0, 12)}…` },
      { title: 'INSTALLER', value: installerText },
      { title: 'SIGNED BY', value: (image) => image.signedBy || undefined },
      { title: 'DELTAS', value: deltasText },
      { title: 'UPLOADED', value: (image) => ago(image.createTime, now()) },
      ...(images.some(({ problem }) => problem !== '')
        ? [{ title: 'PROBLEM', value: ({ problem }: FirmwareImage) => problem }]
        : []),
    ],
    'No firmware yet: holdfast firmware sign FILE --model MODEL --version VERSION, then upload it',
  );
};

const installerText = ({ installer, part }: FirmwareImage): string | undefined =>
  [installer, part].filter((text) => text !== '').join(' ') || undefined;

/** The compressed image first, as what a site fetches that has nothing. */
const deltasText = ({ deltas }: FirmwareImage): string | undefined =>
  deltas.length === 0
    ? undefined
    : [...deltas]
        .sort((a, b) => Number(a.fromVersion !== '') - Number(b.fromVersion !== ''))
        .map(({ fromVersion, sizeBytes }) =>
          fromVersion === ''
            ? `${bytes(Number(sizeBytes))} compressed`
            : `${bytes(Number(sizeBytes))} from ${fromVersion}`,
        )
        .join(', ');
