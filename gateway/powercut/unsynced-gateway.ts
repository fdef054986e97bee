/** The gateway's program with a database that does not wait for the disk: the power cuts must find it out. */
import { Database } from '@holdfast/provisioning/storage/database';
import { main } from '../main.js';

const { exec } = Database.prototype;
Database.prototype.exec = function (this: Database, script) {
  return exec.call(this, script.replace('synchronous = FULL', 'synchronous = OFF'));
};
await main();
