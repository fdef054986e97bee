/**
 * What the program tells systemd (sd_notify(3)): that it serves, that it begins anew, that it stops, and that it is alive. Node has no
 * datagram sockets of the file system, so that systemd's own `systemd-notify` says it: a process of some milliseconds, now and then.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { StoreLog } from '@holdfast/provisioning/storage/store';

export interface ServiceNotifier {
  ready(status: string): void;
  reloading(): void;
  stopping(): void;
  /** Stops the signs of life. Idempotent. */
  close(): void;
}

export interface ServiceNotifierDependencies {
  readonly log: StoreLog;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Hands one message over. */
  readonly send?: (assignments: readonly string[]) => Promise<void>;
}

const run = promisify(execFile);
const sendTimeoutMs = 10_000;

/** Does nothing where no systemd asked for it (`Type=notify`). */
export const openServiceNotifier = ({
  log,
  env,
  send = sendByTool,
}: ServiceNotifierDependencies): ServiceNotifier => {
  if (env.NOTIFY_SOCKET === undefined) return silentNotifier;
  let tail: Promise<void> = Promise.resolve();
  let isTold = false;
  /** One after the other, so that they arrive in their order. */
  const say = (...assignments: string[]): void => {
    tail = tail
      .then(() => send(assignments))
      .catch((error: unknown) => {
        if (isTold) return;
        isTold = true;
        log.warn({ reason: messageOf(error) }, 'systemd cannot be told how this program is');
      });
  };
  const limitUs = Number(env.WATCHDOG_USEC);
  // Twice within the limit and once to spare; a program whose turns stall is late by itself.
  const everyMs = limitUs > 0 ? Math.max(100, limitUs / 1_000 / 3) : undefined;
  const timer = everyMs === undefined ? undefined : setInterval(() => say('WATCHDOG=1'), everyMs);
  return {
    ready: (status) => say('READY=1', `STATUS=${status}`),
    reloading: () => say('RELOADING=1', 'STATUS=beginning anew'),
    stopping: () => say('STOPPING=1'),
    close: () => clearInterval(timer),
  };
};

const silentNotifier: ServiceNotifier = {
  ready: () => undefined,
  reloading: () => undefined,
  stopping: () => undefined,
  close: () => undefined,
};

const sendByTool = async (assignments: readonly string[]): Promise<void> => {
  await run('systemd-notify', [...assignments], { timeout: sendTimeoutMs });
};
