/** Devices on AWS IoT's own SDKs, each a program of its own (`gateway/peers/aws`), for the peers' tests. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import type { Test } from 'tap';

const program = fileURLToPath(new URL('../../../peers/aws/device.js', import.meta.url));

/** Why they cannot be run; false when they can. */
export const missingSdks = (): string | false => {
  try {
    createRequire(program).resolve('aws-iot-device-sdk-v2');
    return false;
  } catch {
    return "AWS IoT's SDKs are not installed; install them with: npm ci --prefix gateway/peers/aws";
  }
};

/** `v1` is `thingShadow`; of version 2, `v2-requests` is `IotShadowClientv2` and `v2-topics` is `IotShadowClient`. */
export type SdkKind = 'v1' | 'v2-requests' | 'v2-topics';

export interface SdkDeviceOptions {
  readonly kind: SdkKind;
  /** Of version 2; version 1 speaks 3.1.1 alone. */
  readonly protocol?: 3 | 5;
  readonly port: number;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly thing: string;
  readonly clientId?: string;
  readonly clean?: boolean;
}

/** What a request came to: the payload of `accepted` or `rejected`, or why the SDK heard neither. */
export interface SdkAnswer {
  readonly accepted?: Record<string, unknown>;
  readonly rejected?: Record<string, unknown>;
  readonly failed?: string;
}

export interface SdkEvent {
  readonly event: string;
  readonly message?: Record<string, unknown>;
  readonly isPresent?: boolean;
}

export interface SdkDevice {
  connect(): Promise<unknown>;
  disconnect(): Promise<void>;
  get(shadow?: string, token?: string): Promise<SdkAnswer>;
  update(request: object, shadow?: string): Promise<SdkAnswer>;
  delete(shadow?: string, token?: string): Promise<SdkAnswer>;
  /** Has deltas and documents told as events (version 1: deltas, with its options). */
  watch(shadow?: string, options?: object): Promise<void>;
  jobs(operation: string, request: object): Promise<SdkAnswer>;
  watchJobs(): Promise<void>;
  nextJob(): Promise<string[]>;
  /** Of version 1: has each job that comes told as the event `job`. */
  takeJobs(): Promise<void>;
  sayOfJob(
    id: string,
    verb: 'inProgress' | 'succeeded' | 'failed',
    details?: object,
  ): Promise<void>;
  /** The next event of this kind that was not asked for yet. */
  next(event: string): Promise<SdkEvent>;
  /** Those that have come and were not asked for. */
  rest(event: string): SdkEvent[];
}

const limitMs = 60_000;

export const startSdkDevice = (t: Test, options: SdkDeviceOptions): SdkDevice => {
  const child = spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'pipe'] });
  const exited = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors = `${errors}${chunk}`.slice(-4_000);
  });
  const answers = new Map<number, (answer: { result?: unknown; error?: string }) => void>();
  const events: SdkEvent[] = [];
  let wake = (): void => undefined;
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (!line.startsWith('{')) return;
    const said = JSON.parse(line) as SdkEvent & { id?: number; result?: unknown; error?: string };
    if (said.id === undefined) {
      events.push(said);
      wake();
    } else answers.get(said.id)?.(said);
  });
  const gone = exited.then(() => {
    throw new Error(`the device ended: ${errors}`);
  });
  gone.catch(() => undefined);
  const say = (line: object): void => void child.stdin.write(`${JSON.stringify(line)}\n`);
  say({ host: '127.0.0.1', clientId: options.thing, clean: true, ...options });

  let lastId = 0;
  const call = async (method: string, args: readonly unknown[]): Promise<unknown> => {
    lastId += 1;
    const id = lastId;
    const answered = new Promise<{ result?: unknown; error?: string }>((resolve) =>
      answers.set(id, resolve),
    );
    say({ id, method, args });
    const { result, error } = await withDeadline(Promise.race([answered, gone]), limitMs, {
      doing: `waiting for ${method} of a device (${errors})`,
    });
    if (error !== undefined) throw new Error(error);
    return result;
  };
  // What each method resolves with is written beside the programs.
  const as =
    <T>(method: string) =>
    (...args: readonly unknown[]) =>
      call(method, args) as Promise<T>;
  const take = (event: string): SdkEvent | undefined => {
    const at = events.findIndex((each) => each.event === event);
    return at < 0 ? undefined : events.splice(at, 1)[0];
  };
  const find = async (event: string): Promise<SdkEvent> => {
    for (;;) {
      const found = take(event);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return {
    connect: as('connect'),
    disconnect: as('disconnect'),
    get: as('get'),
    update: as('update'),
    delete: as('delete'),
    watch: as('watch'),
    jobs: as('jobs'),
    watchJobs: as('watchJobs'),
    nextJob: as('nextJob'),
    takeJobs: as('takeJobs'),
    sayOfJob: as('sayOfJob'),
    next: (event) =>
      withDeadline(Promise.race([find(event), gone]), limitMs, {
        doing: `waiting for ${event} of a device (${errors})`,
      }),
    rest: (event) => events.filter((each) => each.event === event),
  };
};
