import { resolve } from 'node:path';
import t from 'tap';
import * as v from 'valibot';
import { loadConfiguration } from './configuration.js';
import { configurationReference, usageText } from './reference.js';
import {
  choice,
  configuration,
  flag,
  integer,
  list,
  optionalText,
  port,
  section,
  text,
  texts,
} from './settings.js';

const schema = configuration({
  ports: section('Where the gateway listens.', {
    mqtts: port({ default: 8883, description: 'MQTT over TLS.' }),
  }),
  link: section('The link to the control plane.', {
    keepaliveMs: integer({
      default: 15_000,
      min: 1_000,
      max: 60_000,
      unit: 'ms',
      description: 'How often each side pings.',
    }),
    proxy: optionalText({ description: 'An HTTP proxy that allows CONNECT.' }),
    mode: choice(['grpc', 'bundle'], { default: 'grpc', description: 'The carrier | how.' }),
  }),
  names: section('What it is called.', {
    hosts: texts({ default: [], description: 'More names for its certificate.' }),
    title: text({ default: 'Gateway', description: 'What people call it.' }),
    isLocal: flag({ default: false, description: 'Whether to listen for local services.' }),
  }),
});

const load = (argv: string[] = [], env: Record<string, string> = {}) =>
  loadConfiguration(schema, { program: 'holdfast-gateway', argv, env });

t.test('everything has a default', async (t) => {
  const loaded = await load();
  t.same(loaded.configuration, {
    ports: { mqtts: 8883 },
    link: { keepaliveMs: 15_000, mode: 'grpc' },
    names: { hosts: [], title: 'Gateway', isLocal: false },
  });
  t.equal(loaded.dataDir, resolve('.holdfast/gateway'));
  t.equal(loaded.logLevel, 'info');
});

t.test('flags go before the environment, the environment before the file', async (t) => {
  const folder = t.testdir({
    'gateway.yaml':
      'ports:\n  mqtts: 1\nlink:\n  keepaliveMs: 2000\nnames:\n  hosts: [a]\n  title: File\n',
  });
  const { configuration, dataDir, positionals } = await load(
    ['--config', `${folder}/gateway.yaml`, '--ports.mqtts', '3', 'enroll', 'CODE', '--data=/x/y'],
    {
      HOLDFAST_PORTS__MQTTS: '2',
      HOLDFAST_LINK__KEEPALIVE_MS: '3000',
      HOLDFAST_NAMES__HOSTS: 'b, c',
    },
  );
  t.equal(configuration.ports.mqtts, 3);
  t.equal(configuration.link.keepaliveMs, 3_000);
  t.same(configuration.names.hosts, ['b', 'c']);
  t.equal(configuration.names.title, 'File');
  t.equal(dataDir, '/x/y');
  t.same(positionals, ['enroll', 'CODE']);
});

t.test('the environment can name folder, file and level', async (t) => {
  const folder = t.testdir({ 'a.yaml': '' });
  const loaded = await load([], {
    HOLDFAST_DATA: folder,
    HOLDFAST_CONFIG: `${folder}/a.yaml`,
    HOLDFAST_LOG_LEVEL: 'debug',
  });
  t.match(loaded, { dataDir: folder, logLevel: 'debug' });
});

t.test('tells everything that is wrong at once, and where it came from', async (t) => {
  const folder = t.testdir({ 'bad.yaml': 'ports: {mqtt: 1}\nlink: {mode: pigeon}\n' });
  const error = await load(['--config', `${folder}/bad.yaml`, '--names.is-local', 'maybe'], {
    HOLDFAST_LINK__KEEPALIVE_MS: '5 s',
  }).catch((e) => e);
  t.equal(error.code, 'CONFIGURATION_INVALID');
  const lines: string[] = error.message.split('\n');
  t.equal(lines.length, 4);
  t.ok(
    lines.some((line) =>
      /bad\.yaml:1: there is no setting "ports\.mqtt": do you mean "mqtts"\?/.test(line),
    ),
  );
  t.ok(lines.some((line) => /bad\.yaml:2: link\.mode must be one of grpc, bundle/.test(line)));
  t.ok(lines.some((line) => /HOLDFAST_LINK__KEEPALIVE_MS: .* 1000 to 60000, is "5 s"/.test(line)));
  t.ok(lines.some((line) => /--names\.is-local: .*true or false/.test(line)));
});

t.test('refuses flags, files and levels it does not know', async (t) => {
  const bad = { code: 'CONFIGURATION_INVALID' };
  const folder = t.testdir({ 'list.yaml': '- a', 'torn.yaml': 'a: [', 'flat.yaml': 'ports: 5' });
  await t.rejects(load(['--port.mqtts', '1']), {
    ...bad,
    message: /"--port\.mqtts": do you mean "--ports\.mqtts"/,
  });
  await t.rejects(load(['--link.keepaliveMs', '1']), {
    ...bad,
    message: /do you mean "--link\.keepalive-ms"/,
  });
  await t.rejects(load(['--config', `${folder}/none.yaml`]), { ...bad, message: /none\.yaml/ });
  await t.rejects(load(['--config', `${folder}/list.yaml`]), { ...bad, message: /sections/ });
  await t.rejects(load(['--config', `${folder}/torn.yaml`]), { ...bad, message: /torn\.yaml/ });
  await t.rejects(load(['--config', `${folder}/flat.yaml`]), bad);
  await t.rejects(load(['--config', `${folder}/flat.yaml`, '--ports.mqtts', '1']), bad);
  await t.rejects(load(['--log-level', 'loud']), bad);
});

t.test('names the line of the file, and what a name may have been meant to be', async (t) => {
  const folder = t.testdir({
    'site.yaml': [
      '# comment',
      'link:',
      '  keepalive-ms: 2000',
      '  colour: red',
      'names:',
      '  hosts:',
      '    - a',
      '    - 5',
      'lines:',
      '  all:',
      '    - baud: 9600',
      'prots: {}',
    ].join('\n'),
    'twice.yaml': 'link: {}\nnames: {}\nlink: {}\n',
  });
  const lined = configuration({
    ...schema.entries,
    lines: section('Lines.', {
      all: list(v.strictObject({ baudRate: v.optional(v.number()), path: v.string() }), {
        description: 'Lines.',
      }),
    }),
  });
  const error = await loadConfiguration(lined, {
    program: 'holdfast-gateway',
    argv: ['--config', `${folder}/site.yaml`],
    env: {},
  }).catch((e) => e);
  const said = error.message.replaceAll(`${folder}/`, '').split('\n').sort();
  t.same(said, [
    'site.yaml:11: lines.all[0].path is missing',
    'site.yaml:11: there is no setting "lines.all[0].baud": do you mean "baudRate"?',
    'site.yaml:12: there is no setting "prots": do you mean "ports"?',
    'site.yaml:3: there is no setting "link.keepalive-ms": do you mean "keepaliveMs"?',
    'site.yaml:4: there is no setting "link.colour"; below link there are keepaliveMs, proxy, mode',
    'site.yaml:8: names.hosts[1] must be text, is 5',
  ]);
  await t.rejects(load(['--config', `${folder}/twice.yaml`]), {
    message: /twice\.yaml:3: .*unique/,
  });
});

t.test('says which of the choices may have been meant', async (t) => {
  await t.rejects(load(['--link.mode', 'grpcs']), {
    message: /grpc, bundle.*do you mean "grpc"\?/,
  });
  await t.rejects(load(['--link.mode', 'pigeon']), { message: /is "pigeon"$/ });
});

t.test('another file counts where none is named', async (t) => {
  const asked: unknown[] = [];
  const options = {
    program: 'holdfast-gateway',
    env: {},
    defaultFile: async (...of: unknown[]) => {
      asked.push(of);
      return { name: 'applied', text: 'names: {title: Kept}' };
    },
  };
  const loaded = await loadConfiguration(schema, { ...options, argv: ['run', '--data', '/x'] });
  t.equal(loaded.configuration.names.title, 'Kept');
  t.same(asked, [['/x', 'run']]);
  const folder = t.testdir({ 'a.yaml': 'names: {title: Named}' });
  const named = await loadConfiguration(schema, {
    ...options,
    argv: ['--config', `${folder}/a.yaml`, '--ports.mqtts', '7'],
  });
  t.equal(named.configuration.names.title, 'Named');
  t.equal(named.configFile, `${folder}/a.yaml`);
  t.same(named.overrides, { 'ports.mqtts': '--ports.mqtts' });
  t.equal(asked.length, 1);
});

t.test('a program may have flags of its own', async (t) => {
  const { flags } = await loadConfiguration(schema, {
    program: 'holdfast-device',
    argv: ['--gateway', 'gateway.local:8443', '--data', 'x'],
    env: {},
    flags: { gateway: { type: 'string', description: 'Where' } },
  });
  t.same(flags, { gateway: 'gateway.local:8443' });
});

t.test('the reference page has every setting with all that is known of it', async (t) => {
  const page = configurationReference(schema, 'holdfast-gateway');
  t.match(page, /^# Configuration of holdfast-gateway\n/);
  t.match(page, /\n## link\n\nThe link to the control plane\.\n/);
  t.match(
    page,
    '| `link.keepaliveMs` | integer, 1000 to 60000, ms | `15000` | `--link.keepalive-ms`<br>`HOLDFAST_LINK__KEEPALIVE_MS` | How often each side pings. |',
  );
  t.match(page, '| `link.proxy` | text | none |');
  t.match(page, 'grpc \\| bundle', 'a bar in a cell does not end it');
  for (const name of ['ports.mqtts', 'link.mode', 'names.hosts', 'names.title', 'names.isLocal']) {
    t.match(page, `\`${name}\``);
  }
});

t.test('the help has commands, flags and settings', async (t) => {
  const help = usageText(schema, {
    program: 'holdfast-gateway',
    description: 'serves a site',
    commands: { 'enroll CODE': 'takes the site' },
  });
  for (const part of [
    'holdfast-gateway: serves a site',
    'enroll CODE',
    '--data',
    '--link.keepalive-ms MS',
  ]) {
    t.match(help, part);
  }
});

t.test(
  'tells of variables that count for nothing, and what they may have been meant to be',
  async (t) => {
    const { warnings } = await loadConfiguration(schema, {
      program: 'holdfast-gateway',
      argv: [],
      env: {
        HOLDFAST_PORTS__MQTTS: '7',
        HOLDFAST_PROTS__MQTTS: '8',
        HOLDFAST_LINK_KEEPALIVE_MS: '9',
        HOLDFAST_LOGLEVEL: 'warn',
        HOLDFAST_OVEN__DEGREES: '200',
        HOLDFAST_SETTINGS: '/x',
        HOLDFAST_SOMEBODY_ELSE: '1',
        PATH: '/bin',
      },
    });
    t.same(warnings, [
      'HOLDFAST_LINK_KEEPALIVE_MS counts for nothing: do you mean HOLDFAST_LINK__KEEPALIVE_MS?',
      'HOLDFAST_LOGLEVEL counts for nothing: do you mean HOLDFAST_LOG_LEVEL?',
      'HOLDFAST_OVEN__DEGREES counts for nothing here: see --help for the settings',
      'HOLDFAST_PROTS__MQTTS counts for nothing: do you mean HOLDFAST_PORTS__MQTTS?',
    ]);
  },
);
