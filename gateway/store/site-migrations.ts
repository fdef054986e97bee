/**
 * The schema of site.db, step by step. Every area has files of its own in `migrations/`, all numbered together by their place in
 * this one list. What was released is never edited and never moved: a change is a new step at the end.
 */
import type { Migration } from '@holdfast/provisioning/storage/store';
import { journal } from './migrations/0001-journal.js';
import { outbox } from './migrations/0002-outbox.js';
import { link } from './migrations/0003-link.js';
import { devices } from './migrations/0004-devices.js';
import { updates } from './migrations/0005-updates.js';
import { commands } from './migrations/0006-commands.js';
import { shadows } from './migrations/0007-shadows.js';
import { enrolment } from './migrations/0008-enrolment.js';
import { broker } from './migrations/0009-broker.js';
import { trust } from './migrations/0010-trust.js';
import { orderChain } from './migrations/0011-order-chain.js';
import { claims } from './migrations/0012-claims.js';
import { lifecycle } from './migrations/0013-lifecycle.js';
import { localUsers } from './migrations/0014-local-users.js';
import { controlPlaneHeard } from './migrations/0015-control-plane-heard.js';
import { renewals } from './migrations/0016-renewals.js';
import { certificateTurns } from './migrations/0017-certificate-turns.js';
import { mqttFive } from './migrations/0018-mqtt-five.js';
import { shadowHistory } from './migrations/0019-shadow-history.js';
import { shadowsByTime } from './migrations/0020-shadows-by-time.js';
import { shadowTelling } from './migrations/0021-shadow-telling.js';
import { targetTokens } from './migrations/0022-target-tokens.js';
import { campaigns } from './migrations/0023-campaigns.js';
import { firmwareImages } from './migrations/0024-firmware-images.js';
import { awsJobs } from './migrations/0025-aws-jobs.js';
import { deviceHardware } from './migrations/0026-device-hardware.js';
import { lineFlashes } from './migrations/0027-line-flashes.js';
import { gpioCounters } from './migrations/0028-gpio-counters.js';

const steps: readonly Omit<Migration, 'version'>[] = [
  journal,
  outbox,
  link,
  devices,
  updates,
  commands,
  shadows,
  enrolment,
  broker,
  trust,
  orderChain,
  claims,
  lifecycle,
  localUsers,
  controlPlaneHeard,
  renewals,
  certificateTurns,
  mqttFive,
  shadowHistory,
  shadowsByTime,
  shadowTelling,
  targetTokens,
  campaigns,
  firmwareImages,
  awsJobs,
  deviceHardware,
  lineFlashes,
  gpioCounters,
];

export const siteMigrations: readonly Migration[] = steps.map((step, index) => ({
  version: index + 1,
  ...step,
}));
