/** `holdfast-cloud`: the control plane as a program. */

import { createRequire } from 'node:module';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { runProgram } from '@holdfast/provisioning/program/run-program';
import { aborted } from '@holdfast/provisioning/time/wait';
import { writeTextFile } from './certificates/certificate-file.js';
import { openCloud } from './cloud.js';
import { cloudConfiguration } from './configuration.js';

const { version } = createRequire(import.meta.url)('../package.json') as { version: string };

/** `now` is the machine's clock, epoch ms. */
export const main = ({ now = Date.now }: { readonly now?: () => number } = {}): Promise<never> =>
  runProgram({
    program: 'holdfast-cloud',
    description: 'The control plane of a Holdfast fleet: registry, campaigns, certificates, links.',
    version,
    schema: cloudConfiguration,
    flags: {
      'login-file': {
        type: 'string',
        description: 'Write the login code that is shown once into this file (mode 0600) instead',
      },
      'new-login': {
        type: 'boolean',
        description: 'Draw a new token for the admin; the one before is void',
      },
    },
    run: async (context) => {
      const { configuration, dataDir, flags, log, onClose, ready, signal, positionals } = context;
      if (positionals[0] !== undefined) {
        throw new HoldfastError(
          'CONFIGURATION_INVALID',
          `There is no command "${positionals[0]}": holdfast-cloud takes flags alone (--help)`,
        );
      }
      const file = flags['login-file'];
      const ports = await openCloud(
        {
          log,
          now,
          onClose,
          showLogin: async (code) => {
            if (typeof file === 'string') await writeTextFile(file, `${code}\n`, 0o600);
            else process.stderr.write(loginText(code));
          },
        },
        {
          configuration,
          dataDir,
          renewAdminLogin: flags['new-login'] === true,
        },
      );
      ready({ ...ports });
      await aborted(signal);
    },
  });

/** For the person who started it, so not a line of the log, which is kept and shipped. */
const loginText = (code: string): string =>
  `\nThis is shown once. To use this control plane, run:\n\n  holdfast login ${code}\n\n`;
