/**
 * Runs the gateway, and begins anew with another configuration when it is told to (SIGHUP), in the same process. A configuration on
 * trial is kept when the gateway is healthy with it, and rolled back at once when not; the site is served either way.
 */
import { isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { Closers } from '@holdfast/provisioning/program/closers';
import type { Logger } from '@holdfast/provisioning/program/logger';
import type { ReadyPorts } from '@holdfast/provisioning/program/ready';
import { wait } from '@holdfast/provisioning/time/wait';
import type { OpenedGateway } from '../gateway.js';
import type { AppliedConfiguration } from './applied-configuration.js';
import { type GatewayHealth, whatIsWorse } from './gateway-health.js';

export interface ServeSiteDependencies<C> {
  readonly log: Logger;
  readonly applied: AppliedConfiguration;
  /** The configuration as it stands now. */
  readonly load: () => Promise<C>;
  readonly open: (configuration: C, life: Life) => Promise<OpenedGateway>;
  /** Told of each opened gateway, and again of one that goes on. */
  readonly onServing: (configuration: C, ports: ReadyPorts) => Promise<void>;
  /** Ends the program. */
  readonly fail: (error: unknown) => void;
  readonly signal: AbortSignal;
  /** Resolves at the next SIGHUP; rejects when the program ends. */
  readonly toldToBeginAnew: () => Promise<void>;
}

/** What one opened gateway is given. */
export interface Life {
  readonly onClose: (name: string, close: () => Promise<void> | void) => void;
  readonly fail: (error: unknown) => void;
}

export interface ServeSiteOptions {
  /** How long what was well before may take to be well again, ms. */
  readonly healthLimitMs?: number;
  readonly healthEveryMs?: number;
}

interface Serving<C> {
  readonly configuration: C;
  readonly gateway: OpenedGateway;
  /** Rejects when it fails by itself. */
  readonly failed: Promise<never>;
  close(): Promise<boolean>;
}

/** Resolves when the program is told to end; everything is closed then. */
export const serveSite = async <C>(
  deps: ServeSiteDependencies<C>,
  first: C,
  options: ServeSiteOptions = {},
): Promise<void> => {
  const { log, load, signal, applied, toldToBeginAnew } = deps;
  let serving = await openOnTrial(deps, first, undefined, options);
  while (!signal.aborted) {
    const hasFailed = await Promise.race([
      toldToBeginAnew().then(() => false),
      serving.failed,
    ]).catch((error: unknown) => {
      if (!signal.aborted) deps.fail(error);
      return true;
    });
    if (hasFailed || signal.aborted) break;
    log.info('beginning anew with the configuration as it stands now');
    const before = serving.gateway.health();
    await applied.refresh();
    await applied.attempt();
    const next = await load().catch(async (error: unknown) => {
      log.error({ err: error }, 'the configuration cannot be used; the one before goes on');
      if (applied.onTrial !== undefined) await applied.rollBack(applied.onTrial, messageOf(error));
      return undefined;
    });
    if (next === undefined) {
      await deps.onServing(serving.configuration, serving.gateway.ports);
      continue;
    }
    await serving.close();
    serving = await openOnTrial(
      deps,
      next,
      { before, configuration: serving.configuration },
      options,
    );
  }
  await serving.close();
};

/** Opens; what cannot be opened, or is worse than before, gives way to the configuration that worked. */
const openOnTrial = async <C>(
  deps: ServeSiteDependencies<C>,
  configuration: C,
  last: { readonly before: GatewayHealth; readonly configuration: C } | undefined,
  options: ServeSiteOptions,
): Promise<Serving<C>> => {
  const { applied, log, load, signal } = deps;
  const { onTrial } = applied;
  let serving: Serving<C> | undefined;
  try {
    serving = await openOne(deps, configuration);
    if (onTrial !== undefined) {
      await proven(serving, last?.before, signal, options);
      await applied.confirm(onTrial);
    }
  } catch (error) {
    await serving?.close();
    // Ended in the middle of its trial, it has proved nothing yet.
    if (signal.aborted || !isByConfiguration(error)) {
      if (onTrial !== undefined) await applied.forgive(onTrial);
      throw error;
    }
    if (onTrial !== undefined) {
      await applied.rollBack(onTrial, messageOf(error));
      serving = await openOne(deps, await load());
    } else if (last !== undefined) {
      log.error({ err: error }, 'the gateway cannot be opened so; it goes on as before');
      serving = await openOne(deps, last.configuration);
    } else throw error;
  }
  await journal(serving, applied);
  return serving;
};

/** What no configuration is to blame for: it is tried again with the next start. */
const isByConfiguration = (error: unknown): boolean =>
  !(
    isHoldfastError(error) &&
    (error.code === 'GATEWAY_NOT_ENROLLED' ||
      error.code === 'KEY_INVALID' ||
      error.code.startsWith('STORE_'))
  );

const openOne = async <C>(
  { open, onServing, log, signal }: ServeSiteDependencies<C>,
  configuration: C,
): Promise<Serving<C>> => {
  const closers = new Closers({ log });
  let fail: (error: unknown) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  // Whoever waits hears of it.
  failed.catch(() => undefined);
  try {
    const gateway = await Promise.race([
      open(configuration, { onClose: (name, close) => closers.add(name, close), fail }),
      failed,
    ]);
    signal.throwIfAborted();
    await onServing(configuration, gateway.ports);
    return { configuration, gateway, failed, close: () => closers.close() };
  } catch (error) {
    await closers.close();
    throw error;
  }
};

/** Resolves when nothing is worse than before; rejects with what still is after the limit. */
const proven = async <C>(
  { gateway, failed }: Serving<C>,
  before: GatewayHealth | undefined,
  signal: AbortSignal,
  { healthLimitMs = 30_000, healthEveryMs = 250 }: ServeSiteOptions,
): Promise<void> => {
  const end = performance.now() + healthLimitMs;
  for (;;) {
    const worse = whatIsWorse(before, gateway.health());
    if (worse === undefined) return;
    if (performance.now() > end) throw new Error(`${worse} (waited ${healthLimitMs / 1000} s)`);
    await Promise.race([wait(healthEveryMs, signal), failed]);
  }
};

const journal = async <C>(
  { gateway }: Serving<C>,
  applied: AppliedConfiguration,
): Promise<void> => {
  const { outcome } = applied;
  if (outcome === null || outcome.journalled) return;
  const { revision, sha256, by, result, reason } = outcome;
  await gateway.journal('site_configuration', { revision, sha256, by, result, reason });
  await applied.journalled(revision);
};
