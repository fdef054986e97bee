/** The one schema of `holdfast-device`'s configuration. */
import {
  choice,
  configuration,
  integer,
  optionalText,
  section,
  text,
} from '@holdfast/provisioning/program/settings';

export const deviceConfiguration = configuration({
  device: section('What this device is, said once when it enrols.', {
    model: text({ default: 'pi', description: 'Its model: firmware is made for one.' }),
    serialNo: optionalText({
      description: 'Its serial number; without one, the name of the machine.',
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
});
