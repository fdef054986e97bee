import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import * as v from 'valibot';
import { usualSettings } from './port/port-settings.js';
import { checkSerialDriver, type FarLine } from './serial-driver-contract.js';
import { isDriverFile, loadSiteDriver } from './site-driver.js';

const page = fileURLToPath(new URL('../../serial/DRIVERS.md', import.meta.url));
const example = /```js\n(.*?)```/s.exec(await readFile(page, 'utf8'))?.[1] ?? '';

const folder = await mkdtemp(join(tmpdir(), 'holdfast-drivers-'));
t.teardown(() => rm(folder, { recursive: true }));
await writeFile(join(folder, 'scale.js'), example);

/** Scales that know what the page says. */
const scales = (addresses: readonly number[]) => {
  let weight = 0;
  return {
    attach: (line: FarLine): void => {
      let rest = '';
      line.onData((bytes) => {
        const lines = (rest + bytes.toString()).split('\r\n');
        rest = lines.pop() ?? '';
        for (const asked of lines) {
          const [, what, address] = /^([WTZ])(\d+)/.exec(asked) ?? [];
          if (!addresses.includes(Number(address))) continue;
          weight += 1;
          line.write(`${address} ${what === 'W' ? weight / 2 : 'OK'}\r\n`);
        }
      });
    },
    close: () => undefined,
  };
};

checkSerialDriver({
  driver: await loadSiteDriver('./scale.js', { folder }),
  options: { pollMs: 20 },
  devices: [
    { id: 'scale-1', settings: { address: 1 } },
    { id: 'scale-2', settings: { address: 2 } },
  ],
  refusedDevices: [{ id: 'scale-1', settings: { address: 'first' } }],
  command: { type: 'tare', payload: null },
  desired: { zero_kg: 3 },
  farEnd: (devices) =>
    scales(devices.map(({ settings }) => (settings as { address: number }).address)),
});

t.test('a driver is a file of JavaScript, and says what is wrong with it', async (t) => {
  t.ok(isDriverFile('./drivers/scale.js') && isDriverFile('/opt/x.mjs') && isDriverFile('../x.js'));
  t.notOk(isDriverFile('json-lines') || isDriverFile('scale.js') || isDriverFile('./scale.ts'));
  const refused = async (
    t: Test,
    text: string,
    message: RegExp,
    name = `d${String(Math.random())}`,
  ) => {
    await writeFile(join(folder, `${name}.js`), text);
    const loaded = loadSiteDriver(`./${name}.js`, { folder });
    await t.rejects(loaded, { code: 'CONFIGURATION_INVALID', message });
  };
  await t.rejects(loadSiteDriver('./none.js', { folder }), {
    message: `the driver ./none.js is not there: put it at ${join(folder, 'none.js')}`,
  });
  await refused(t, 'export const x = {', /can't be loaded/);
  await refused(t, 'export const other = 1;', /is none: driver/);
  await refused(t, 'export const driver = { name: "x" };', /is none: driver.attach/);
  await refused(
    t,
    'export const driver = { name: "x", attach: () => [], options: 5 };',
    /driver.options: .*function/,
  );
});

t.test('what a driver gives is looked at before the first command', async (t) => {
  const loaded = async (name: string, attach: string) => {
    await writeFile(join(folder, name), `export const driver = { name: 'x', attach: ${attach} };`);
    return loadSiteDriver(`./${name}`, { folder });
  };
  const line = { name: 'line-1', settings: usualSettings, listen: () => undefined };
  const devices = [{ id: 'a', handlers: {} as never, settings: undefined }];
  const attach = (driver: Awaited<ReturnType<typeof loadSiteDriver>>) => () =>
    driver.attach(line, devices, undefined);
  const none = await loaded('none-given.js', '() => []');
  t.throws(attach(none), { code: 'CONFIGURATION_INVALID', message: /one object for each/ });
  const half = await loaded(
    'half.js',
    '() => [{ isOnline: false, counts: { droppedFrames: 0, discardedBytes: 0 }, close() {} }]',
  );
  t.throws(attach(half), { message: /without sendCommand/ });
  const thrown = await loaded('throws.js', '() => { throw new Error("no scale"); }');
  t.throws(attach(thrown), { message: /refuses the line line-1: no scale/ });
  t.notOk(v.safeParse(thrown.options, { any: 1 }).success, 'one without options takes none');
});

t.test('a file that others may change is not run', async (t) => {
  const path = join(folder, 'open.js');
  const mark = `holdfast_${String(process.pid)}`;
  await writeFile(path, `globalThis.${mark} = true; ${example}`);
  await chmod(path, 0o666);
  await t.rejects(loadSiteDriver('./open.js', { folder }), {
    code: 'CONFIGURATION_INVALID',
    message: /chmod go-w .*open\.js/,
  });
  await chmod(path, 0o644);
  await chmod(folder, 0o777);
  await t.rejects(loadSiteDriver('./open.js', { folder }), { message: /folder may be changed/ });
  t.notOk(mark in globalThis, 'it never ran');
  await chmod(folder, 0o700);
  await loadSiteDriver('./open.js', { folder });
  t.ok(mark in globalThis);
});

t.test('a driver that was changed is another, in the same process', async (t) => {
  const write = (name: string) =>
    writeFile(join(folder, 'new.js'), example.replace("name: 'scale'", `name: '${name}'`));
  await write('first');
  t.equal((await loadSiteDriver('./new.js', { folder })).name, 'first');
  await write('another');
  t.equal((await loadSiteDriver('./new.js', { folder })).name, 'another');
});
