/**
 * Applies a site file: puts it on trial, tells the running gateway to begin anew, and waits for its verdict. Whatever ends this
 * command, or the gateway, in the middle leaves the old or the new configuration, and a next start that is healthy.
 */

import { join } from 'node:path';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { readConfiguration } from '@holdfast/provisioning/program/configuration';
import type { FileText } from '@holdfast/provisioning/program/configuration-file';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import { lockFolder } from '@holdfast/provisioning/storage/folder-lock';
import { makeFolder } from '@holdfast/provisioning/storage/make-folder';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { type GatewayConfiguration, gatewayConfiguration } from '../configuration.js';
import { checkDriverFiles, checkWires } from '../doors/check-wires.js';
import { AppliedConfiguration } from './applied-configuration.js';
import { type Change, compareSettings } from './compare.js';
import { isRunning, type RunningGateway, readRunning } from './running-record.js';

export interface ApplyOptions {
  readonly file: FileText;
  readonly dataDir: string;
  /** Who applies it. */
  readonly by: string;
  readonly isDryRun: boolean;
  /** How long the gateway may take to give its verdict, ms. */
  readonly limitMs?: number;
  readonly signal?: AbortSignal;
}

export interface Applied {
  /** `waits`: no gateway runs; its next start takes the file, on trial. */
  readonly result: 'unchanged' | 'would_change' | 'confirmed' | 'waits';
  readonly revision: number | null;
  readonly changes: readonly Change[];
  /** What the file says and the running gateway does not heed, since a flag or a variable says something else. */
  readonly overridden: readonly Overridden[];
}

export interface Overridden {
  readonly setting: string;
  readonly wanted: unknown;
  readonly running: unknown;
  /** `HOLDFAST_LISTEN__HTTPS_PORT`, `--listen.https-port`. */
  readonly because: string;
}

/** Longer than the gateway gives itself to be healthy, closing and opening included. */
const defaultLimitMs = 75_000;

/** Errors: CONFIGURATION_INVALID, CONFIGURATION_ROLLED_BACK, RESOURCE_STATE_WRONG, STORE_IN_USE. */
export const applySiteFile = async (
  { log }: { readonly log: StoreLog },
  options: ApplyOptions,
): Promise<Applied> => {
  const { file, dataDir, isDryRun, by } = options;
  const wanted = readConfiguration(gatewayConfiguration, file);
  checkWires(wanted);
  const applied = await AppliedConfiguration.open({ log }, { dataDir });
  const running = await readRunning({ log }, dataDir);
  requireNoNamedFile(running, file);
  await checkDriverFiles(wanted, { folder: dataDir });
  const text = (await applied.text()) ?? { name: 'the defaults', text: '' };
  const changes = compareSettings(readConfiguration(gatewayConfiguration, text), wanted);
  const revision = applied.current?.revision ?? null;
  const isRunWith = running === undefined || running.revision === revision;
  // A comment that has changed is worth keeping, but no restart.
  if (
    changes.length === 0 &&
    applied.current !== null &&
    applied.onTrial === undefined &&
    isRunWith
  ) {
    return { result: 'unchanged', revision, changes, overridden: overriddenIn(running, wanted) };
  }
  if (isDryRun) {
    return { result: 'would_change', revision, changes, overridden: overriddenIn(running, wanted) };
  }
  await makeFolder(join(dataDir, 'site'), 0o700);
  const lock = await lockFolder(join(dataDir, 'site'), { waitMs: 0, name: 'apply' }).catch(
    (error: unknown) => {
      if (!isHoldfastError(error, 'STORE_IN_USE')) throw error;
      throw new HoldfastError('STORE_IN_USE', 'Another apply is under way', {
        cause: error,
        data: { next: 'wait for it, then: holdfast site plan' },
      });
    },
  );
  try {
    const begun = await applied.begin(file.text, by);
    if (running === undefined) {
      return { result: 'waits', revision: begun.revision, changes, overridden: [] };
    }
    await beginAnew(applied, begun.revision, running);
    await verdict(applied, begun.revision, running, options);
    const overridden = overriddenIn(await readRunning({ log }, dataDir), wanted);
    return { result: 'confirmed', revision: begun.revision, changes, overridden };
  } finally {
    await lock.close();
  }
};

const overriddenIn = (
  running: RunningGateway | undefined,
  wanted: GatewayConfiguration,
): Overridden[] =>
  running === undefined
    ? []
    : compareSettings(running.configuration, wanted).flatMap(({ setting, from, to }) => {
        const because = running.overrides[setting];
        return because === undefined ? [] : [{ setting, wanted: to, running: from, because }];
      });

const requireNoNamedFile = (running: RunningGateway | undefined, file: FileText): void => {
  const named = running?.config_file ?? null;
  if (named === null) return;
  throw new HoldfastError(
    'RESOURCE_STATE_WRONG',
    `the gateway runs with --config ${named}, so nothing that is applied would count`,
    { data: { next: `start it without --config (or HOLDFAST_CONFIG), then apply ${file.name}` } },
  );
};

const beginAnew = async (
  applied: AppliedConfiguration,
  revision: number,
  { pid }: RunningGateway,
): Promise<void> => {
  try {
    process.kill(pid, 'SIGHUP');
  } catch (error) {
    await applied.rollBack(
      revision,
      `the gateway (process ${pid}) could not be told: ${messageOf(error)}`,
    );
    throw new HoldfastError(
      'RESOURCE_STATE_WRONG',
      `the gateway (process ${pid}) cannot be told to take it: ${messageOf(error)}`,
      { cause: error, data: { next: 'run this as the user of the gateway, or with sudo' } },
    );
  }
};

/** The gateway decides, and says so in the record; where it cannot, this does after the limit. */
const verdict = async (
  applied: AppliedConfiguration,
  revision: number,
  running: RunningGateway,
  { limitMs = defaultLimitMs, signal }: ApplyOptions,
): Promise<void> => {
  const isSettled = async (): Promise<boolean> => {
    await applied.refresh();
    return applied.outcome?.revision === revision;
  };
  try {
    await waitUntil('the verdict of the gateway', isSettled, {
      deadlineMs: limitMs,
      everyMs: 100,
      ...(signal && { signal }),
    });
  } catch (error) {
    if (!isHoldfastError(error, 'DEADLINE_EXCEEDED')) throw error;
    const what = (await isRunning(running)) ? 'did not say that it is healthy' : 'has ended';
    await applied.rollBack(revision, `the gateway ${what} within ${limitMs / 1000} s`);
  }
  const { outcome } = applied;
  if (outcome?.result !== 'rolled_back') return;
  throw new HoldfastError(
    'CONFIGURATION_ROLLED_BACK',
    `revision ${revision} was rolled back: ${outcome.reason ?? 'the gateway was not healthy with it'}`,
    {
      data: {
        revision,
        next: 'the configuration before is in force again; mend the file, then: holdfast site apply',
      },
    },
  );
};
