/**
 * The table of who may do what, row by row with its reason. `receive` is what is asked for a message that is live, retained or queued;
 * `broker/access.test.ts` drives those through the broker. In a row `\0` is NUL, `{x*9}` is `x` nine times, and `(nothing)` is empty.
 */
import t from 'tap';
import { accessOfDevices } from './access-table-devices.js';
import { accessOfOthers } from './access-table-others.js';
import { accessToRights } from './access-table-rights.js';
import { authorise, type Verb } from './authorise.js';
import { anonymous, type Principal } from './identity.js';
import { type Right, rights } from './rights.js';

const service = { kind: 'service', name: 'meter' } as const;
const principals: Readonly<Record<string, Principal>> = {
  device: { kind: 'device', site: 's', device: 'pump-1', serial: '01', issuerSerial: '02' },
  service: {
    ...service,
    publish: ['dt/+/commands/#', 'plant/light'],
    subscribe: ['dt/#', '+/x'],
  },
  selective: { ...service, publish: ['#', '!a/#'], subscribe: ['#', '!a/#'] },
  everything: { ...service, publish: ['#'], subscribe: ['#'] },
  line: { kind: 'line', device: 'pump-1', path: '/dev/ttyUSB0' },
  url: { kind: 'url', device: 'pump-1' },
  target: { kind: 'target', device: 'pump-1' },
  gatewaytoken: { kind: 'target', device: null },
  viewer: { kind: 'person', user: 'vera', role: 'viewer' },
  technician: { kind: 'person', user: 'tom', role: 'technician' },
  installer: { kind: 'person', user: 'ida', role: 'installer' },
  nobody: anonymous,
};

/** What they may do is little, and stands in rows of their own. */
const tokens: ReadonlySet<string> = new Set(['target', 'gatewaytoken']);

const rows = [accessOfDevices, accessOfOthers, accessToRights]
  .flatMap((table) => table.split('\n'))
  .filter((line) => line !== '' && !line.startsWith('#'));

const textOf = (written: string): string =>
  written === '(nothing)'
    ? ''
    : written
        .replaceAll('\\0', '\0')
        .replace(/\{(.+?)\*(\d+)\}/g, (_, text: string, times: string) =>
          text.repeat(Number(times)),
        );

t.test('every row of the table is answered as it says', async (t) => {
  t.ok(rows.length >= 200, `${rows.length} rows`);
  for (const row of rows) {
    const [who = '', verb = '', what = '', expected] = row.split(/\s+/);
    const principal = principals[who];
    if (principal === undefined) throw new TypeError(`${row}: who is that?`);
    // A row may ask what no overload lets a door ask: a right that there is not.
    const decision = (
      authorise as (who: Principal, verb: Verb, what: string) => { reason?: string }
    )(principal, verb as Verb, textOf(what));
    t.equal(decision.reason ?? 'allow', expected, row);
  }
});

t.test('the table has every right, and every identity with each', async (t) => {
  for (const right of rights satisfies readonly Right[]) {
    const asked = rows
      .filter((row) => row.split(/\s+/)[2] === right)
      .map((row) => row.split(' ')[0] ?? '')
      .filter((who) => !tokens.has(who));
    t.same(
      asked.sort(),
      ['device', 'installer', 'line', 'nobody', 'service', 'technician', 'url', 'viewer'],
      right,
    );
  }
});
