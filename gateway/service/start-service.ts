/** Starts the service after an enrolment where it is installed; else says how to start the gateway. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { serviceName } from './units.js';

const run = promisify(execFile);

const unitFolders = ['/etc/systemd/system', '/lib/systemd/system'];

export const startService = async (dataDir: string): Promise<void> => {
  const say = (text: string) => process.stderr.write(`${text}\n`);
  if (!(await isServed(dataDir))) {
    say(`Start it: holdfast-gateway --data ${dataDir}`);
    return;
  }
  if (!existsSync('/run/systemd/system') || process.geteuid?.() !== 0) {
    say(`Start it: sudo systemctl start ${serviceName}`);
    return;
  }
  try {
    await run('systemctl', ['restart', serviceName]);
    say(`${serviceName} runs: systemctl status ${serviceName}`);
  } catch (error) {
    say(`${serviceName} could not be started: ${messageOf(error)}`);
    say(`  next: journalctl -u ${serviceName}`);
  }
};

/** Whether the installed unit serves this folder, and no other. */
const isServed = async (dataDir: string): Promise<boolean> => {
  for (const folder of unitFolders) {
    const unit = await readFile(`${folder}/${serviceName}`, 'utf8').catch(() => '');
    if (unit.includes(`--data ${dataDir}\n`)) return true;
  }
  return false;
};
