/** The gateway as a program: where its configuration comes from, and its lives with it. */

import { dirname, resolve } from 'node:path';
import { type LoadOptions, loadConfiguration } from '@holdfast/provisioning/program/configuration';
import { LogStream } from '@holdfast/provisioning/program/log-stream';
import { createLogger, type Logger } from '@holdfast/provisioning/program/logger';
import { openingPorts } from '@holdfast/provisioning/program/port-settings';
import type { ProgramContext } from '@holdfast/provisioning/program/run-program';
import { type GatewayConfiguration, gatewayConfiguration } from '../configuration.js';
import { openGateway } from '../gateway.js';
import { openServiceNotifier } from '../service/notify.js';
import { AppliedConfiguration } from './applied-configuration.js';
import { clearRunning, writeRunning } from './running-record.js';
import { serveSite } from './serve-site.js';

type DefaultFile = NonNullable<LoadOptions['defaultFile']>;

/** What was applied counts where no file is named. A start counts as an attempt with it. */
export const appliedFile: DefaultFile = async (dataDir, command = 'run') => {
  const log = createLogger({ program: 'holdfast-gateway', to: new LogStream({ fd: 2 }) });
  const applied = await AppliedConfiguration.open({ log }, { dataDir });
  if (command === 'run') await applied.attempt();
  return applied.text();
};

export interface RunGatewayOptions {
  readonly version: string;
  readonly argv: readonly string[];
  readonly env: LoadOptions['env'];
  readonly flags: LoadOptions['flags'];
}

export const runGateway = async (
  context: ProgramContext<GatewayConfiguration>,
  { version, ...commandLine }: RunGatewayOptions,
): Promise<void> => {
  const { log, signal, dataDir, ready, fail, configFile, overrides } = context;
  const applied = await AppliedConfiguration.open({ log }, { dataDir });
  context.onClose('running record', () => clearRunning(dataDir));
  const notifier = openServiceNotifier({ log, env: commandLine.env });
  context.onClose('service notifier', () => notifier.close());
  signal.addEventListener('abort', () => notifier.stopping(), { once: true });
  // What was applied lies in the data folder.
  const configurationFolder = configFile === undefined ? dataDir : dirname(resolve(configFile));
  const nextHangup = hangups(log, signal);
  await serveSite(
    {
      log,
      applied,
      signal,
      fail,
      load: async () => {
        const { configuration } = await loadConfiguration(gatewayConfiguration, {
          program: 'holdfast-gateway',
          ...commandLine,
          flags: commandLine.flags ?? {},
          defaultFile: () => applied.text(),
        });
        return configuration;
      },
      open: (configuration, life) =>
        openingPorts(portSettings(configuration), () =>
          openGateway(
            { log, ...life, beginAnew },
            { configuration, configurationFolder, dataDir, version },
          ),
        ),
      onServing: async (configuration, ports) => {
        await writeRunning({ log }, dataDir, {
          started_at: Date.now(),
          version,
          revision: configFile === undefined ? (applied.current?.revision ?? null) : null,
          config_file: configFile ?? null,
          overrides,
          configuration: { ...configuration },
          ports,
        });
        ready(ports);
        notifier.ready('serves the site');
      },
      toldToBeginAnew: async () => {
        await nextHangup();
        notifier.reloading();
      },
    },
    context.configuration,
  );
};

/** As `site apply` tells it to. */
const beginAnew = (): void => {
  process.kill(process.pid, 'SIGHUP');
};

/** The ports that are listened on, by their settings. */
export const portSettings = ({
  listen,
  services,
}: GatewayConfiguration): Readonly<Record<string, number>> => ({
  'listen.mqttsPort': listen.mqttsPort,
  'listen.httpsPort': listen.httpsPort,
  'listen.consolePort': listen.consolePort,
  ...(services.users.length > 0 && { 'services.port': services.port }),
});

/** Each call resolves at the next SIGHUP, at once if one came meanwhile; rejects when the program ends. */
const hangups = (log: Logger, signal: AbortSignal): (() => Promise<void>) => {
  let isPending = false;
  let wake: (() => void) | undefined;
  const onHangup = (): void => {
    log.info('SIGHUP');
    isPending = true;
    wake?.();
  };
  process.on('SIGHUP', onHangup);
  signal.addEventListener('abort', () => wake?.(), { once: true });
  return async () => {
    if (!isPending && !signal.aborted) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    isPending = false;
    signal.throwIfAborted();
  };
};
