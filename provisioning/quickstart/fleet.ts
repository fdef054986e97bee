/**
 * A whole fleet on one machine, as real processes through the real enrolment: control plane, one gateway behind a WAN that can be cut,
 * agents, simulated devices and a device on a serial line. A second start on the same folder finds it again.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import * as v from 'valibot';
import {
  type Child,
  type ChildExit,
  type ChildOptions,
  runChild,
  startChild,
} from '../program/children.js';
import type { StoreLog } from '../storage/store.js';
import { meterId, meterOfGateway, meterProgram } from './fleet-meter.js';
import { type FleetRecord, openFleetState, type PortName } from './fleet-state.js';
import { bins } from './programs.js';
import { writeSampleFirmware } from './sample-firmware.js';
import { Wan } from './wan.js';

export interface FleetOptions {
  readonly dataDirectory: string;
  readonly agents: number;
  readonly simulated: number;
  /** Whether there is a device on a serial line. */
  readonly hasSerial: boolean;
  /** Whether there is a meter on Modbus TCP; it has no firmware. */
  readonly hasMeter?: boolean;
  /** What comes over the WAN, at most; without it as fast as it goes. */
  readonly wanBytesPerS?: number;
  readonly log: StoreLog;
  /** Told of each step of the start, for people. */
  readonly onStep?: (text: string) => void;
  /** More arguments for a program, by its name. */
  readonly args?: Readonly<Record<string, readonly string[]>>;
  /** More of its environment, by its name. */
  readonly env?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly onLogLine?: (program: string, line: string) => void;
  /** Told of a program that ended without having been asked to, once everything runs. */
  readonly onEnded?: (program: string, exit: ChildExit) => void;
  /** Ends the start. */
  readonly signal?: AbortSignal;
}

/** The site of every quickstart, and the model of all of its devices: one firmware fits them all. */
export const site = 'demo';
export const model = 'demo';
export const firstVersion = '1.0.0';

/** How long one command of the start may take. */
const commandTimeoutMs = 60_000;
/** How long a program may take until it serves; that of the simulated devices enrols them first. */
const startTimeoutMs = 30_000;
const enrolTimeoutMs = 2_000;

export class Fleet {
  readonly wan: Wan;
  readonly #options: FleetOptions;
  readonly #state: FleetRecord;
  readonly #children = new Map<string, Child>();
  #isServing = false;

  private constructor(options: FleetOptions, state: FleetRecord, wan: Wan) {
    this.#options = options;
    this.#state = state;
    this.wan = wan;
  }

  /** Starts everything; what was enrolled before is only started. */
  static async open(options: FleetOptions): Promise<Fleet> {
    await mkdir(options.dataDirectory, { recursive: true, mode: 0o700 });
    const state = await openFleetState(options.dataDirectory, options.log);
    const { grpc = 0, link = 0, https = 0 } = state.data.ports;
    const wan = await Wan.open({ grpc, link, https }, options.wanBytesPerS);
    const fleet = new Fleet(options, state, wan);
    try {
      await fleet.#start();
      fleet.#isServing = true;
      return fleet;
    } catch (error) {
      await fleet.close();
      throw error;
    }
  }

  get deviceIds(): readonly string[] {
    const { agents, simulated, hasSerial, hasMeter = false } = this.#options;
    return [
      ...numbered('agent', agents),
      ...numbered('sim', simulated),
      ...(hasSerial ? ['serial-1'] : []),
      ...(hasMeter ? [meterId] : []),
    ];
  }

  port(name: PortName): number {
    return this.#state.data.ports[name] ?? 0;
  }

  /** Runs `holdfast` with `--json`; gives what it printed. Errors: CHILD_FAILED with what it said. */
  async holdfast(...args: readonly string[]): Promise<unknown> {
    const result = await runChild({
      bin: bins.holdfast,
      args: ['--json', '--data', this.folder('cli'), ...args],
      timeoutMs: commandTimeoutMs,
      ...this.#signal(),
    });
    if (result.code !== 0) {
      throw new HoldfastError('CHILD_FAILED', `holdfast ${args.join(' ')}: ${result.stderr}`);
    }
    return JSON.parse(result.stdout);
  }

  /** The file with the passphrase of the keys that sign firmware here; a quickstart has nobody to ask. */
  get passphraseFile(): string {
    return this.folder('firmware-passphrase');
  }

  /** Makes the keys that sign firmware, unless there are some. */
  async makeSigningKeys(): Promise<void> {
    if (this.#state.data.hasSigningKeys === true) return;
    const passphrase = ['--passphrase-file', this.passphraseFile];
    // Of a start that was broken off in the middle of it.
    for (const folder of ['firmware-keys', 'firmware-metadata']) {
      await rm(join(this.folder('cli'), folder), { recursive: true, force: true });
    }
    await writeFile(this.passphraseFile, `${randomBytes(16).toString('hex')}\n`, { mode: 0o600 });
    await this.holdfast('firmware', 'keys', 'init', ...passphrase);
    const delegate = ['delegate', 'release', '--paths', `${model}/*/*`];
    await this.holdfast('firmware', 'keys', ...delegate, ...passphrase);
    await this.#state.update((state) => ({ ...state, hasSigningKeys: true }));
  }

  /** Signs an image for every device here, and uploads it. */
  async releaseFirmware(file: string, version: string): Promise<void> {
    await this.makeSigningKeys();
    const of = ['--model', model, '--version', version];
    await this.holdfast(
      ...['firmware', 'sign', file, ...of, '--passphrase-file', this.passphraseFile],
    );
    await this.holdfast('firmware', 'upload', file);
  }

  child(name: string): Child {
    const child = this.#children.get(name);
    if (child === undefined) throw new HoldfastError('RESOURCE_NOT_FOUND', `${name} does not run`);
    return child;
  }

  folder(name: string): string {
    return join(this.#options.dataDirectory, name);
  }

  /** Starts the control plane, or starts it again after it ended. */
  async startCloud(): Promise<void> {
    const loginFile = this.folder('login-code');
    const child = await this.#run('cloud', bins.cloud, [
      '--listen.host=127.0.0.1',
      '--listen.grpc-port=0',
      '--listen.link-port=0',
      '--listen.https-port=0',
      `--advertise.grpc-port=${this.port('grpc')}`,
      `--advertise.link-port=${this.port('link')}`,
      `--advertise.https-port=${this.port('https')}`,
      `--login-file=${loginFile}`,
    ]);
    this.wan.lead(child.ports);
    if (this.#state.data.isLoggedIn) return;
    await this.#logIn(loginFile);
    await this.#state.update((state) => ({ ...state, isLoggedIn: true }));
  }

  /** Starts the gateway, or starts it again after it ended. */
  async startGateway(): Promise<void> {
    await this.#run('gateway', bins.gateway, this.#gatewayArgs());
  }

  /** Starts the devices of one kind again after they ended: `agent-1`, `simulator`, `serial`, `meter`. */
  async startDevices(name: string): Promise<void> {
    if (name === 'simulator') {
      await this.#run(name, bins.device, [
        'simulate',
        `--simulate.count=${this.#options.simulated}`,
        '--simulate.prefix=sim-',
        `--simulate.model=${model}`,
        `--simulate.version=${firstVersion}`,
        `--codes=${this.folder('simulator-codes')}`,
        `--gateway=127.0.0.1:${this.port('devices')}`,
      ]);
    } else if (name === 'serial') {
      await this.#run(name, bins.device, [
        'serial-simulator',
        '--id=serial-1',
        `--pty=${this.folder('serial-line')}`,
        `--serial.model=${model}`,
        `--serial.version=${firstVersion}`,
      ]);
    } else if (name === 'meter') {
      await this.#run(name, bins.device, meterProgram(this.port('meter')));
    } else {
      await this.#run(name, bins.device, [`--application.initial=${this.folder('first.tar')}`]);
    }
  }

  /** Starts a program again after it ended, by the name that `onEnded` gave. */
  async restart(name: string): Promise<void> {
    if (name === 'cloud') await this.startCloud();
    else if (name === 'gateway') await this.startGateway();
    else await this.startDevices(name);
  }

  /** Ends everything, the devices first. Idempotent. */
  async close(): Promise<void> {
    this.#isServing = false;
    const order = [...this.#children.keys()].filter(
      (name) => name !== 'cloud' && name !== 'gateway',
    );
    await Promise.all(order.map((name) => this.#children.get(name)?.stop()));
    await this.#children.get('gateway')?.stop();
    await this.#children.get('cloud')?.stop();
    await this.wan.close();
  }

  async #start(): Promise<void> {
    const { agents, simulated, hasSerial, hasMeter } = this.#options;
    this.#step('control plane');
    await this.startCloud();
    // The line has to be there before the gateway looks for it; it waits for one that is late all the same.
    if (hasSerial) {
      this.#step('a device on a serial line');
      await this.startDevices('serial');
    }
    if (hasMeter) {
      this.#step('a meter on Modbus TCP');
      await this.startDevices('meter');
    }
    if (!this.#state.data.isGatewayEnrolled) await this.#enrolGateway();
    this.#step('gateway');
    await this.startGateway();
    if (agents > 0) await this.#preparePackages();
    for (const agent of numbered('agent', agents)) {
      this.#step(agent);
      await this.#enrolAgent(agent);
      await this.startDevices(agent);
    }
    if (simulated > 0) {
      this.#step(`${simulated} simulated devices`);
      await this.#claimSimulated();
      await this.startDevices('simulator');
    }
  }

  async #enrolGateway(): Promise<void> {
    this.#step('enrolment of the gateway');
    const loginFile = this.folder('gateway-login-code');
    // Both steps may have been done by a start that was cut.
    const created = v.safeParse(
      v.object({ gateway_code: v.string() }),
      await this.holdfast('site', 'create', site, '--display-name', 'Quickstart').catch(
        (error: unknown) => {
          if (!messageOf(error).includes('RESOURCE_EXISTS')) throw error;
        },
      ),
    );
    const code = created.success
      ? created.output.gateway_code
      : v.parse(v.object({ code: v.string() }), await this.holdfast('gateway', 'code', site)).code;
    await this.#once('gateway', bins.gateway, [
      'enroll',
      code,
      `--login-file=${loginFile}`,
      ...this.#gatewayArgs(),
    ]);
    // The gateway has to serve before anybody can log in to it.
    await this.startGateway();
    await this.#logIn(loginFile);
    await this.child('gateway').stop();
    await this.#state.update((state) => ({ ...state, isGatewayEnrolled: true }));
  }

  #gatewayArgs(): string[] {
    const line = { device: 'serial-1', path: this.folder('serial-line') };
    return [
      '--listen.host=127.0.0.1',
      `--listen.mqtts-port=${this.port('mqtts')}`,
      `--listen.https-port=${this.port('devices')}`,
      `--listen.console-port=${this.port('console')}`,
      '--names.hosts=127.0.0.1',
      ...(this.#options.hasSerial ? [`--serial.lines=${JSON.stringify([line])}`] : []),
      ...(this.#options.hasMeter === true ? meterOfGateway(this.port('meter')) : []),
    ];
  }

  async #preparePackages(): Promise<void> {
    const path = this.folder('first.tar');
    await rm(path, { force: true });
    await writeSampleFirmware(path, { version: firstVersion, behaviour: 'works' });
  }

  async #enrolAgent(agent: string): Promise<void> {
    if (this.#state.data.enrolled.includes(agent)) return;
    await this.#once(agent, bins.device, [
      'enroll',
      await this.#claim(agent),
      `--gateway=127.0.0.1:${this.port('devices')}`,
      `--device.model=${model}`,
      `--device.serial-no=${agent}`,
    ]);
    await this.#markEnrolled(agent);
  }

  async #claimSimulated(): Promise<void> {
    if (this.#state.data.enrolled.includes('simulator')) return;
    const ids = numbered('sim', this.#options.simulated);
    const { codes } = v.parse(
      v.object({ codes: v.array(v.object({ code: v.string() })) }),
      await this.holdfast('--gateway', 'device', 'claim', '--count', `${ids.length}`),
    );
    const lines = ids.map((id, at) => `${id} ${codes[at]?.code ?? ''}`);
    await writeFile(this.folder('simulator-codes'), `${lines.join('\n')}\n`, { mode: 0o600 });
    await this.#markEnrolled('simulator');
  }

  async #claim(device: string): Promise<string> {
    const claim = await this.holdfast('--gateway', 'device', 'claim', device);
    return v.parse(v.object({ code: v.string() }), claim).code;
  }

  #markEnrolled(name: string): Promise<void> {
    return this.#state.update((state) => ({ ...state, enrolled: [...state.enrolled, name] }));
  }

  async #logIn(file: string): Promise<void> {
    await this.holdfast('login', (await readFile(file, 'utf8')).trim());
    await rm(file);
  }

  /** Runs a command of a program to its end. */
  async #once(name: string, bin: string, args: readonly string[]): Promise<void> {
    const result = await runChild({
      ...this.#childOptions(name, bin, args),
      timeoutMs: commandTimeoutMs,
    });
    if (result.code === 0 || result.stderr.includes('GATEWAY_ALREADY_ENROLLED')) return;
    throw new HoldfastError('CHILD_FAILED', `${name}: ${result.stderr}`);
  }

  async #run(name: string, bin: string, args: readonly string[]): Promise<Child> {
    const child = await startChild(this.#childOptions(name, bin, args));
    this.#children.set(name, child);
    child.exited
      .then((exit) => {
        if (this.#isServing && this.#children.get(name) === child) {
          this.#options.onEnded?.(name, exit);
        }
      })
      // One that could not be run at all was told to whoever started it.
      .catch(() => undefined);
    return child;
  }

  #childOptions(name: string, bin: string, args: readonly string[]): ChildOptions {
    const { args: more, env, onLogLine } = this.#options;
    return {
      bin,
      env: env?.[name] ?? {},
      args: [...args, ...(more?.[name] ?? []), '--data', this.folder(name)],
      timeoutMs: startTimeoutMs + this.#options.simulated * enrolTimeoutMs,
      ...this.#signal(),
      ...(onLogLine && { onLogLine: (line: string) => onLogLine(name, line) }),
    };
  }

  /** Only the start ends by it: what runs is closed in its order. */
  #signal(): { signal?: AbortSignal } {
    const { signal } = this.#options;
    return signal === undefined || this.#isServing ? {} : { signal };
  }

  #step(text: string): void {
    this.#options.onStep?.(text);
  }
}

const numbered = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}-${index + 1}`);
