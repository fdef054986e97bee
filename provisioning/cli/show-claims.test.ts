import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { createSecret, formatClaimCode } from '../pki/claim-code.js';
import { openLabelFiles } from './labels/label-files.js';
import { type ShownClaim, showClaims } from './show-claims.js';
import { Terminal } from './terminal.js';

const claimFor = (device: string | undefined, address?: string): ShownClaim => ({
  code: formatClaimCode({
    kind: 'device',
    secret: createSecret(),
    rootSha256: '5a'.repeat(32),
    address,
  }),
  expire_time: new Date(0),
  site: 'farm',
  device,
  model: undefined,
});

const terminalOf = (isJson = false) => {
  let text = '';
  const out = {
    isTTY: false,
    write: (more: string) => {
      text += more;
    },
  };
  const terminal = new Terminal({ out, error: out, isJson, environment: {} });
  return { terminal, shown: () => text };
};

t.test('one code comes with what to type, and a picture where it is wished', async (t) => {
  const plain = terminalOf();
  const fromCloud = claimFor('pump');
  await showClaims(plain.terminal, [fromCloud], { isList: false, hasQr: false, labels: undefined });
  t.match(plain.shown(), `holdfast-device enroll ${fromCloud.code} --gateway HOST:8443\n`);
  t.match(plain.shown(), /for pump, valid once, until 1970/);
  t.notMatch(plain.shown(), /█/);

  const drawn = terminalOf();
  const onSite = claimFor(undefined, 'gateway.local:8443');
  await showClaims(drawn.terminal, [onSite], { isList: false, hasQr: true, labels: undefined });
  t.match(drawn.shown(), `holdfast-device enroll ${onSite.code} --id ID\n`);
  t.match(drawn.shown(), /█/);
});

t.test('many codes come as lines, as JSON, or as files that only their owner reads', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-labels-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const claims = Array.from({ length: 30 }, (_, index) => claimFor(`pump-${index}`));
  const lines = terminalOf();
  await showClaims(lines.terminal, claims, { isList: true, hasQr: true, labels: undefined });
  t.same(
    lines.shown().split('\n').slice(0, 30),
    claims.map(({ code }) => code),
  );
  const json = terminalOf(true);
  await showClaims(json.terminal, claims, { isList: true, hasQr: true, labels: undefined });
  t.equal(JSON.parse(json.shown()).codes.length, 30);

  const path = join(folder, 'labels.svg');
  const files = terminalOf();
  const labels = await openLabelFiles(path);
  await showClaims(files.terminal, claims, { isList: true, hasQr: false, labels });
  t.match(files.shown(), /labels\.svg, .*labels-2\.svg/);
  t.notMatch(files.shown(), /hfd1-/, 'what stands in the file need not stand on the screen');
  for (const name of ['labels.svg', 'labels-2.svg']) {
    t.equal((await stat(join(folder, name))).mode & 0o777, 0o600);
  }
  t.match(await readFile(join(folder, 'labels-2.svg'), 'utf8'), /pump-29/);
});

t.test('labels that cannot be written are refused before any code is made', async (t) => {
  const bad = { code: 'REQUEST_INVALID' };
  await t.rejects(openLabelFiles('labels.png'), { ...bad, message: /\.pdf or \.svg/ });
  await t.rejects(openLabelFiles('labels.pdf', 'a3'), { ...bad, message: /a4 and letter/ });
  await t.rejects(openLabelFiles('/nowhere/labels.pdf'), { ...bad, message: /cannot be written/ });
});

t.test('says whose place a code takes', async (t) => {
  const options = { isList: false, hasQr: false, labels: undefined, replaced: 'pump-1' };
  const plain = terminalOf();
  await showClaims(plain.terminal, [claimFor('pump-1')], options);
  t.match(plain.shown(), /pump-1 is enrolled: whoever uses this code takes its place/);
  const json = terminalOf(true);
  await showClaims(json.terminal, [claimFor('pump-1')], options);
  t.equal(JSON.parse(json.shown()).replaces, 'pump-1');
});

t.test('says which codes are open for the same id, and how to be rid of them', async (t) => {
  const options = { isList: false, hasQr: false, labels: undefined, alsoOpen: ['ab12cd34'] };
  const plain = terminalOf();
  const claim = claimFor('pump-1', 'gateway.local:8443');
  await showClaims(plain.terminal, [claim], options);
  t.match(plain.shown(), /another code for pump-1 is open.*unclaim ab12cd34/);
  t.equal(plain.shown().split(claim.code).length, 2, 'the code itself stands there once');
  const json = terminalOf(true);
  await showClaims(json.terminal, [claim], options);
  t.same(JSON.parse(json.shown()).also_open, ['ab12cd34']);
});
