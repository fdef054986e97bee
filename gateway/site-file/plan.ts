/**
 * What `holdfast site plan` shows: what a file would change, where what runs differs from what was applied, and what the machine lacks
 * for it.
 */
import { readConfiguration } from '@holdfast/provisioning/program/configuration';
import type { FileText } from '@holdfast/provisioning/program/configuration-file';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { type GatewayConfiguration, gatewayConfiguration } from '../configuration.js';
import type { Finding } from '../doctor/finding.js';
import { checkDriverFiles, checkWires } from '../doors/check-wires.js';
import { AppliedConfiguration } from './applied-configuration.js';
import { type Change, compareSettings } from './compare.js';
import { type RunningGateway, readRunning } from './running-record.js';

export interface SitePlan {
  readonly file: string;
  /** Of the configuration that was applied last; null: the defaults. */
  readonly revision: number | null;
  readonly changes: readonly Change[];
  readonly drift: readonly Drift[];
  /** What the machine lacks for the file, warnings and failures alone. */
  readonly machine: readonly Finding[];
  readonly is_running: boolean;
}

export interface Drift {
  readonly setting: string;
  readonly applied: unknown;
  readonly running: unknown;
  readonly because: string;
}

export interface PlanDependencies {
  readonly log: StoreLog;
  /** Looks at the machine with a configuration in mind. */
  readonly examine: (configuration: GatewayConfiguration) => Promise<readonly Finding[]>;
}

/** Errors: CONFIGURATION_INVALID. */
export const planSiteFile = async (
  { log, examine }: PlanDependencies,
  { file, dataDir }: { readonly file: FileText; readonly dataDir: string },
): Promise<SitePlan> => {
  const wanted = readConfiguration(gatewayConfiguration, file);
  checkWires(wanted);
  const store = await AppliedConfiguration.open({ log }, { dataDir });
  const text = (await store.text()) ?? { name: 'the defaults', text: '' };
  const applied = readConfiguration(gatewayConfiguration, text);
  const running = await readRunning({ log }, dataDir);
  // One that runs with a file of its own looks beside that.
  if (running?.config_file == null) await checkDriverFiles(wanted, { folder: dataDir });
  const findings = await examine(wanted);
  return {
    file: file.name,
    revision: store.current?.revision ?? null,
    changes: compareSettings(applied, wanted),
    drift: running === undefined ? [] : driftOf(store, applied, running),
    machine: findings.filter(({ severity }) => severity === 'warning' || severity === 'failure'),
    is_running: running !== undefined,
  };
};

const driftOf = (
  { current }: AppliedConfiguration,
  applied: GatewayConfiguration,
  { configuration, overrides, config_file, revision }: RunningGateway,
): Drift[] =>
  compareSettings(configuration, applied).map(({ setting, from, to }) => ({
    setting,
    running: from,
    applied: to,
    because:
      overrides[setting] ??
      (config_file === null
        ? revision === (current?.revision ?? null)
          ? 'the applied file was changed by hand'
          : `revision ${current?.revision ?? 0} is not taken yet`
        : `--config ${config_file}`),
  }));
