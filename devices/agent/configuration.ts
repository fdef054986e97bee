/** The one schema of `holdfast-device`'s configuration. */
import {
  choice,
  configuration,
  integer,
  list,
  optionalText,
  section,
  text,
} from '@holdfast/provisioning/program/settings';
import * as v from 'valibot';
import { ioRoles, lineSettings } from '../gpio/line-settings.js';
import { attachedSection } from './attached/attached-configuration.js';
import { installerNames } from './update/installer.js';

const jobHandler = v.strictObject({
  /** As an operation of a job's document. */
  name: v.pipe(v.string(), v.regex(/^[a-z][a-z0-9_-]{0,63}$/, 'must be a lower-case name')),
  /** A line of the shell. */
  command: v.pipe(v.string(), v.minLength(1), v.maxLength(4_096)),
  timeoutS: v.optional(v.pipe(v.number(), v.minValue(1), v.maxValue(86_400)), 300),
});
export type JobHandler = v.InferOutput<typeof jobHandler>;

const command = (description: string, fallback = '') =>
  text({ default: fallback, description: `${description} A line of the shell.` });

export const deviceConfiguration = configuration({
  device: section('What this device is, said once when it enrols.', {
    model: text({ default: 'pi', description: 'Its model: firmware is made for one.' }),
    hardware: optionalText({
      description:
        'The revision of its hardware, said at every start: firmware may be made for some.',
    }),
    serialNo: optionalText({
      description: 'Its serial number; without one, the name of the machine.',
    }),
  }),
  attached: attachedSection,
  gpio: section('GPIO lines of this machine (devices/gpio/README.md; needs the package gpiod).', {
    lines: list(lineSettings(ioRoles, {}), {
      description:
        'name, chip (its name or label), line (its number or name), role, activeLow (false) and bias (`as-is`, `pull-up`, `pull-down`) of each. Roles: `relay` (safe: `on` or `off`, safeAfterS 60, minOnS 1, minOffS 1): a leaf of the shadow under `gpio`; `input` (debounceMs 20); `counter` (debounceMs 0, everyS 10); `reset` (pulseMs 100), for flashing',
    }),
  }),
  update: section('How it installs firmware (README.md, "An update").', {
    installer: choice(installerNames, {
      default: 'slots',
      description:
        'What installs; firmware that is made for another is refused. With `attached` it is flash.',
    }),
    askAgainS: integer({
      default: 60,
      min: 1,
      max: 3_600,
      unit: 's',
      description:
        'After which it asks again when the gateway did not let it install yet: a window is closed, or others are missing.',
    }),
    restartCommand: command(
      'Restarts the machine; empty: nothing that is installed needs it (script alone).',
      'systemctl reboot',
    ),
    healthCommand: command(
      'Ends with 0 once the device is healthy with new firmware; empty: it is when this agent runs again. rauc, swupdate, script.',
    ),
    deadlineS: integer({
      default: 300,
      min: 1,
      max: 86_400,
      unit: 's',
      description:
        'From the start of new firmware until it has to be healthy. rauc, swupdate, script, flash.',
    }),
    stableS: integer({
      default: 0,
      max: 86_400,
      unit: 's',
      description: 'How long it then has to stay healthy. rauc, swupdate, script.',
    }),
    maxStarts: integer({
      default: 3,
      min: 2,
      max: 20,
      description:
        'Starts of this agent, the one before the restart among them, until it goes back. rauc, swupdate, script, flash.',
    }),
    versionCommand: command('Prints the version that runs. swupdate.'),
    bootHandler: text({
      default: '',
      description:
        'The program that speaks with the boot loader: booted, activate COPY, confirm COPY, reject COPY. swupdate.',
    }),
    copyA: text({
      default: 'stable,copy1',
      description: 'What writes the first copy: software,mode as in sw-description. swupdate.',
    }),
    copyB: text({ default: 'stable,copy2', description: 'What writes the second copy. swupdate.' }),
    swupdateKey: text({
      default: '',
      description: 'The key or certificate that its images are signed with. swupdate.',
    }),
    swupdateConfig: text({ default: '', description: 'Its configuration file. swupdate.' }),
  }),
  firmware: section('Whose firmware it takes.', {
    root: optionalText({
      description:
        'A file with a root of the metadata to begin with; without one the first that the plan names is trusted, and kept.',
    }),
  }),
  jobs: section('What it does when a job tells it to.', {
    handlers: list(jobHandler, {
      description:
        'Each {name, command, timeoutS}: a job whose operation is this name runs this line of the shell, with the document on its standard input.',
    }),
  }),
  health: section('What it measures of itself.', {
    intervalS: integer({
      default: 30,
      min: 1,
      max: 86_400,
      unit: 's',
      description: 'Time between two measurements, until the shadow says otherwise.',
    }),
  }),
  application: section('What it runs.', {
    initial: optionalText({
      description: 'An application archive to install when nothing was ever installed.',
    }),
  }),
  simulate: section('The simulated devices of `simulate`.', {
    count: integer({ default: 10, min: 1, max: 10_000, description: 'How many.' }),
    prefix: text({ default: 'sim-', description: 'What their ids begin with.' }),
    model: text({ default: 'simulated', description: 'Their model.' }),
    version: text({ default: '1.0.0', description: 'What they run before their first update.' }),
    intervalS: integer({
      default: 5,
      min: 1,
      max: 86_400,
      unit: 's',
      description: 'Time between two measurements, until the shadow says otherwise.',
    }),
    doors: choice(['both', 'jobs', 'older'], {
      default: 'both',
      description:
        'Which topics speak of updates: `jobs`, the `older` set, or `both`, those with an odd number the first',
    }),
  }),
  serial: section('The simulated device of `serial-simulator`.', {
    model: text({ default: 'serial-simulated', description: 'Its model.' }),
    version: text({ default: '1.0.0', description: 'The version it says it runs.' }),
    baudRate: integer({ default: 115_200, min: 300, description: 'The speed of its port.' }),
    intervalMs: integer({
      default: 5_000,
      min: 10,
      unit: 'ms',
      description: 'Time between two measurements, until the gateway says otherwise.',
    }),
  }),
  modbus: section('The simulated meter of `modbus-simulator`.', {
    port: integer({
      default: 0,
      max: 65_535,
      description: 'Where it listens; 0 takes a free port.',
    }),
    unit: integer({ default: 1, min: 1, max: 247, description: 'Its number.' }),
  }),
});
