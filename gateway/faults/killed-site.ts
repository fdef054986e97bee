/** A site whose gateway is a real program that gets killed, and started again over the same folder. */
import { fileURLToPath } from 'node:url';
import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type Child, startChild } from '@holdfast/provisioning/program/children';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import { type EnrolledSite, openEnrolledSite } from './enrolled-site.js';

/** The n-th call of one kind, at which the gateway is killed before the call is made. */
export interface KillPoint {
  readonly call: string;
  readonly nth: number;
}

export interface KilledSite extends EnrolledSite {
  /** Starts it and leaves it alone. `under` is a program that runs it. */
  start(under?: readonly string[]): Promise<Child>;
  /**
   * Starts it and waits until it is killed at the point; says whether it was ready before. Rejects when it ends in another way. `bin`
   * is another program in its place.
   */
  killAt(point: KillPoint, bin?: string): Promise<{ wasReady: boolean }>;
}

const gateway = fileURLToPath(new URL('../../bin/holdfast-gateway.js', import.meta.url));
const killLimitMs = 60_000;

export const openKilledSite = async (): Promise<KilledSite> => {
  const site = await openEnrolledSite();
  let running: Child | undefined;
  const start = async (under: readonly string[] = [], bin = gateway): Promise<Child> => {
    running = await startChild({
      bin,
      args: ['--data', site.folder, '--log-level', 'warn'],
      env: {
        HOLDFAST_LISTEN__HOST: '127.0.0.1',
        HOLDFAST_LISTEN__MQTTS_PORT: `${site.port}`,
        HOLDFAST_LISTEN__HTTPS_PORT: '0',
        HOLDFAST_LISTEN__CONSOLE_PORT: '0',
        // Nobody is there, and this is not about how soon it finds out.
        HOLDFAST_LINK__FIRST_RETRY_MS: '60000',
        // One thread does all writes, so that the n-th write means the same each time: strace counts by thread.
        UV_THREADPOOL_SIZE: '1',
      },
      wrapper: under,
      timeoutMs: killLimitMs,
    });
    return running;
  };
  return {
    ...site,
    start,
    async killAt({ call, nth }, bin) {
      const inject = `inject=${call}:signal=SIGKILL:when=${nth}`;
      const under = [...strace, '-e', `trace=${call}`, '-e', inject];
      let child: Child;
      try {
        child = await start(under, bin);
      } catch (error) {
        const isKilled =
          isHoldfastError(error, 'CHILD_FAILED') && error.message.includes('ended by SIGKILL');
        if (isKilled) return { wasReady: false };
        throw error;
      }
      const doing = `reaching ${call} ${nth}`;
      const ended = withDeadline(child.exited, killLimitMs, { doing });
      const { signal } = await ended.finally(() => child.kill());
      if (signal !== 'SIGKILL') throw new Error(`it ended by itself: ${child.stderrTail()}`);
      return { wasReady: true };
    },
    async close() {
      await running?.kill();
      await site.close();
    },
  };
};

/** Not with `--seccomp-bpf`, with which strace 6 injects nothing. */
const strace = ['strace', '-f', '-qq', '-o', '/dev/null'] as const;
