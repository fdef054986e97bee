/** What the words of `devices/{id}/status` mean. Their devices are in the field, so every spelling that was seen there is taken. */
import type { ReportedStatus } from './execution-state.js';

const words: ReadonlyMap<string, ReportedStatus> = new Map([
  ...spell('offered', 'received', 'accepted', 'pending', 'queued', 'started', 'offered'),
  ...spell('downloading', 'downloading', 'download', 'download_started', 'in_progress'),
  ...spell('verifying', 'downloaded', 'verifying', 'verified', 'download_complete'),
  ...spell('installing', 'installing', 'flashing', 'applying', 'updating', 'installed', 'flashed'),
  ...spell('rebooting', 'rebooting', 'restarting', 'reboot'),
  ...spell('confirming', 'confirming', 'booted', 'testing'),
  ...spell('succeeded', 'succeeded', 'success', 'successful', 'completed', 'complete', 'done'),
  ...spell('failed', 'failed', 'failure', 'error', 'rejected', 'download_failed', 'install_failed'),
  ...spell('rolled_back', 'rolled_back', 'rollback', 'rolledback', 'reverted'),
  ...spell('cancelled', 'cancelled', 'canceled', 'aborted'),
]);

function spell(status: ReportedStatus, ...spellings: string[]): [string, ReportedStatus][] {
  return spellings.map((word) => [word, status]);
}

/** Undefined for a word that means nothing to us. */
export const olderStatus = (word: string): ReportedStatus | undefined =>
  words.get(
    word
      .trim()
      .toLowerCase()
      .replace(/[\s-]+/g, '_'),
  );
