/** The gateway's program with a commit queue that promises before it stores: the tests of killed gateways must find it out. */
import { setTimeout as pause } from 'node:timers/promises';
import { CommitQueue } from '@holdfast/provisioning/storage/commit-queue';
import { main } from '../main.js';

const { commit } = CommitQueue.prototype;
CommitQueue.prototype.commit = async function (this: CommitQueue, write) {
  void pause(30).then(() => commit.call(this, write).catch(() => undefined));
};
await main();
