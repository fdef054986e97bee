import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { machineTime, type RunTool } from './machine-time.js';

/** A machine with these files and tools. */
const machine = async (
  t: Test,
  files: Readonly<Record<string, string>>,
  tools: Readonly<Record<string, string>> = {},
) => {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-machine-'));
  t.teardown(() => rm(root, { recursive: true }));
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), `${text}\n`);
  }
  const run: RunTool = async (tool, args) => tools[[tool, ...args].join(' ')];
  return machineTime({ root, run });
};

const tracking = (server: string, leap: string) =>
  `C0000201,${server},2,1768910400.1,0.000001,0.000001,0.00002,-3.2,0.0,0.01,0.010,0.002,64.2,${leap}\n`;

t.test('names the start of the machine', async (t) => {
  const known = await machine(t, { 'proc/sys/kernel/random/boot_id': 'b-1' });
  t.equal(await known.boot(), 'b-1');
  const silent = await machine(t, {});
  t.not(await silent.boot(), await silent.boot());
});

t.test('reads the battery-backed clock from which the kernel sets its own', async (t) => {
  const both = await machine(t, {
    'sys/class/rtc/rtc0/since_epoch': '1000',
    'sys/class/rtc/rtc0/hctosys': '0',
    'sys/class/rtc/rtc1/since_epoch': '2000',
    'sys/class/rtc/rtc1/hctosys': '1',
  });
  t.equal(await both.rtc(), 2_000_000);
  const one = await machine(t, { 'sys/class/rtc/rtc0/since_epoch': '3000' });
  t.equal(await one.rtc(), 3_000_000);
  t.equal(await (await machine(t, {})).rtc(), null, 'as in a container');
});

t.test('tells NTP that is authenticated from NTP that anybody may forge', async (t) => {
  const ask = ['chronyc -n -c tracking', 'chronyc -n -c authdata'] as const;
  const authdata = (mode: string) => `192.0.2.1,${mode},1,15,256,33h,0,0,8,100\n`;
  const nts = await machine(
    t,
    {},
    { [ask[0]]: tracking('192.0.2.1', 'Normal'), [ask[1]]: authdata('NTS') },
  );
  t.same(await nts.ntp(), { authenticated: true, errorMs: 7 });
  const open = await machine(
    t,
    {},
    { [ask[0]]: tracking('192.0.2.1', 'Normal'), [ask[1]]: authdata('-') },
  );
  t.same(await open.ntp(), { authenticated: false, errorMs: 7 });
  const other = await machine(
    t,
    {},
    { [ask[0]]: tracking('192.0.2.9', 'Normal'), [ask[1]]: authdata('NTS') },
  );
  t.match(await other.ntp(), { authenticated: false }, 'another server is');
  const lost = await machine(t, {}, { [ask[0]]: tracking('', 'Not synchronised') });
  t.equal(await lost.ntp(), null);
});

t.test('asks the kernel where there is no chrony', async (t) => {
  const ask = 'timedatectl show --property=NTPSynchronized --value';
  t.match(await (await machine(t, {}, { [ask]: 'yes\n' })).ntp(), { authenticated: false });
  t.equal(await (await machine(t, {}, { [ask]: 'no\n' })).ntp(), null);
  t.equal(await (await machine(t, {})).ntp(), null);
});

t.test('asks the tools of this machine, whichever it has, and reads its clocks', async (t) => {
  const here = machineTime();
  const ntp = await here.ntp();
  t.ok(ntp === null || typeof ntp.authenticated === 'boolean');
  const first = here.read();
  t.ok(here.read().monotonic >= first.monotonic);
  t.ok(Math.abs(first.system - Date.now()) < 60_000);
});
