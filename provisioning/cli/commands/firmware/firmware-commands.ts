/** `holdfast firmware`: the images that campaigns install, and the signatures without which nothing installs them. */
import { type Command, Option } from 'commander';
import { installer } from '../../../firmware/manifest.js';
import type { CommandContext } from '../../context.js';
import { addKeysCommands } from './keys-commands.js';
import { listFirmware } from './list.js';
import { pullMetadata } from './pull.js';
import { type SignOptions, signFirmware } from './sign.js';
import {
  each,
  type SigningOptions,
  withMetadataOption,
  withSigningOptions,
} from './signing-options.js';
import { listSiteFirmware, pinFirmware } from './site-cache.js';
import { uploadFirmware } from './upload.js';
import { type VerifyOptions, verifyFirmware } from './verify.js';

export const addFirmwareCommands = (program: Command, context: () => CommandContext): void => {
  const firmware = program.command('firmware').description('the firmware that campaigns install');

  withSigningOptions(firmware.command('sign <file>'))
    .description(
      'sign an image as a release; it is read once and never held whole; needs no network',
    )
    .requiredOption('--model <model>', 'the model of the devices it is for')
    .requiredOption('--version <version>', 'its version, as devices report it')
    .option('--role <role>', 'who signs (default: the first role for the name whose key is here)')
    .option('--hardware <revision>', 'it is for this revision; may be given more than once', each)
    .option('--source-versions <range>', "it can only follow these, as '>=1.4 <3' (default: any)")
    .option('--security-counter <n>', 'devices refuse a lower one than they have run', '0')
    .addOption(
      new Option('--installer <name>', 'how the agent installs it')
        .choices(installer.options)
        .default('slots'),
    )
    .option('--part <name>', 'of the installer flash: the microcontroller, as atmega328p')
    .option('--step <name=file:seconds>', 'of the installer script; in their order', each)
    .option('--image-key <name>', 'sign for devices that check one signature alone', each)
    .action((file: string, options: SignOptions) => signFirmware(context(), file, options));

  withMetadataOption(firmware.command('upload [file]'))
    .description('publish a signed image; without one, what was signed: keys, roles, later dates')
    .option('--model <model>', 'where the same bytes are signed for several models')
    .option('--version <version>', 'or as several versions')
    .action((file: string | undefined, options) => uploadFirmware(context(), file, options));

  withSigningOptions(firmware.command('verify <file>'))
    .description('tell whether an image is what was signed, and by whom; needs no network')
    .option('--root <file>', 'the root to trust (default: root.1.json of the metadata)')
    .option('--model <model>', 'the model of the device it is for')
    .option('--hardware <revision>', 'the revision of its hardware')
    .option('--current <version>', 'the version that it runs')
    .option('--security-counter <n>', 'the highest counter that it has run')
    .option('--allow-expired', 'look past dates, as a device does whose clock nobody set')
    .action((file: string, options: VerifyOptions) => verifyFirmware(context(), file, options));

  firmware
    .command('list')
    .description(
      'every image that was uploaded, and who signed it; with --gateway those of the site, and how far they are',
    )
    .option('--watch', 'with --gateway: again and again, until all are here')
    .action((options: { watch?: boolean }) => {
      const asked = context();
      return asked.asksGateway ? listSiteFirmware(asked, options) : listFirmware(asked);
    });

  firmware
    .command('pin <firmware>')
    .description('keep it at the site, and fetch it if it is not here (with --gateway)')
    .action((name: string) => pinFirmware(context(), name, 'pin'));

  firmware
    .command('unpin <firmware>')
    .description('keep it as long as the plan needs it, and no longer (with --gateway)')
    .action((name: string) => pinFirmware(context(), name, 'unpin'));

  withMetadataOption(firmware.command('pull'))
    .description('fetch the metadata that is published, to sign the next release on top of it')
    .action((options: SigningOptions) => pullMetadata(context(), options));

  addKeysCommands(firmware, context);
};
