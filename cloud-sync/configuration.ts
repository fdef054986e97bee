/** The settings of the control plane. */
import { shadowBytes } from '@holdfast/protos/semantics/shadow-document';
import {
  configuration,
  flag,
  integer,
  port,
  section,
  text,
  texts,
} from '@holdfast/provisioning/program/settings';
import type * as v from 'valibot';

export const cloudConfiguration = configuration({
  fleet: section('The fleet that this control plane holds.', {
    name: text({
      default: 'holdfast',
      description:
        'Name of the fleet. It stands in every certificate, so it cannot be changed later',
    }),
  }),
  listen: section('Where it listens. A port of 0 picks a free one.', {
    host: text({ default: '0.0.0.0', description: 'Address of every port' }),
    grpcPort: port({
      default: 7444,
      description: 'API and enrolment of gateways (server TLS, tokens)',
    }),
    linkPort: port({ default: 7443, description: 'Link of the gateways (mutual TLS)' }),
    httpsPort: port({ default: 7480, description: 'Firmware for gateways (HTTPS)' }),
  }),
  advertise: section('How it is reached from outside.', {
    hosts: texts({
      default: ['127.0.0.1'],
      description:
        'Host names and addresses, in the server certificate; the first also stands in codes and is what gateways connect to',
    }),
    grpcPort: port({ default: 0, description: 'Port of the API from outside; 0: as it listens' }),
    linkPort: port({ default: 0, description: 'Port of the link from outside; 0: as it listens' }),
    httpsPort: port({ default: 0, description: 'Port of HTTPS from outside; 0: as it listens' }),
  }),
  link: section('The link to the gateways.', {
    keepaliveMs: integer({
      default: 20_000,
      min: 100,
      max: 300_000,
      unit: 'ms',
      description: 'A gateway not heard of for 1.5 times as long is given up',
    }),
    answerTimeoutMs: integer({
      default: 5_000,
      min: 10,
      max: 60_000,
      unit: 'ms',
      description: 'How long a connection has to answer when another one wants its place',
    }),
    windowBytes: integer({
      default: 8_388_608,
      min: 65_536,
      max: 268_435_456,
      unit: 'bytes',
      description: 'Journal of one gateway that may be under way without having been stored',
    }),
  }),
  plan: section('The plans that sites carry out.', {
    lifetimeDays: integer({
      default: 90,
      min: 1,
      max: 3_650,
      unit: 'days',
      description: 'How long a plan holds; it is issued anew after a third of that at the latest',
    }),
    renewHours: integer({
      default: 12,
      min: 1,
      max: 720,
      unit: 'hours',
      description:
        'How often a plan is issued anew though nothing changed; campaigns that want plans no older than so long begin nowhere',
    }),
    graceDays: integer({
      default: 30,
      min: 0,
      max: 3_650,
      unit: 'days',
      description: 'How long after that a site without contact still begins new work',
    }),
  }),
  policy: section('What sites go by while they are on their own.', {
    staleRevocationsDays: integer({
      default: 90,
      min: 1,
      max: 3_650,
      unit: 'days',
      description:
        'How long a site may not have heard what was revoked elsewhere until it does without what follows; whoever runs goes on running',
    }),
    staleStopsEnrolment: flag({
      default: true,
      description: 'Whether such a site enrols no devices',
    }),
    staleStopsRenewal: flag({
      default: false,
      description: 'Whether such a site renews no certificates of devices',
    }),
    inactiveAfterHours: integer({
      default: 168,
      min: 1,
      max: 87_600,
      unit: 'hours',
      description: 'How long a device may be silent before it counts as inactive',
    }),
    expiredMetadataGraceDays: integer({
      default: 0,
      min: 0,
      max: 3_650,
      unit: 'days',
      description:
        'How long after its expiry the metadata that firmware is signed with still counts at sites and on devices',
    }),
  }),
  shadows: section('The shadows of devices.', {
    maxDocumentBytes: integer({
      default: shadowBytes.default,
      min: 1_024,
      max: shadowBytes.most,
      unit: 'bytes',
      description:
        'What is desired and reported in one shadow together, without metadata. To be set alike at the gateways',
    }),
  }),
  firmware: section('The firmware that campaigns install.', {
    maxImageBytes: integer({
      default: 2_147_483_648,
      min: 1_024,
      max: 1_099_511_627_776,
      unit: 'bytes',
      description: 'Size of one image at most',
    }),
    deltaSources: integer({
      default: 3,
      min: 0,
      max: 16,
      unit: 'versions',
      description:
        'Deltas of an image are made from so many of the most recent versions, and from so many of those that most devices have; 0 makes none',
    }),
    deltaMaxImageBytes: integer({
      default: 134_217_728,
      min: 1_024,
      max: 1_073_741_824,
      unit: 'bytes',
      description:
        'Deltas are made of images up to this size: one takes about ten times as much memory while it is made',
    }),
  }),
  retention: section('What is removed when it is older. The counters of a campaign stay.', {
    telemetryDays: integer({
      default: 90,
      min: 1,
      max: 36_500,
      unit: 'days',
      description: 'Telemetry, from its arrival on',
    }),
    commandDays: integer({
      default: 365,
      min: 1,
      max: 36_500,
      unit: 'days',
      description: 'Commands, from their making on and never before they are over',
    }),
    executionDays: integer({
      default: 730,
      min: 1,
      max: 36_500,
      unit: 'days',
      description: 'What became of each device in a campaign, from its end on',
    }),
    auditDays: integer({
      default: 1_826,
      min: 1,
      max: 36_500,
      unit: 'days',
      description: 'Who did what (`holdfast audit`), from when it was noted here on',
    }),
    shadowHistoryDays: integer({
      default: 30,
      min: 1,
      max: 36_500,
      unit: 'days',
      description: 'What changed in the shadows, from when it was stored here on',
    }),
    shadowHistoryBytes: integer({
      default: 33_554_432,
      min: 0,
      max: 1_099_511_627_776,
      unit: 'bytes',
      description:
        'Of that, what one site may take up: where a change has no room the oldest go, and are counted',
    }),
    conflictDays: integer({
      default: 90,
      min: 1,
      max: 36_500,
      unit: 'days',
      description:
        'Conflicts of shadows: open ones from their finding on, settled ones from their settling on',
    }),
  }),
});

export type CloudConfiguration = v.InferOutput<typeof cloudConfiguration>;
