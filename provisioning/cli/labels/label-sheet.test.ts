import t from 'tap';
import { createSecret, formatClaimCode } from '../../pki/claim-code.js';
import { a4Sheet, labelPages, letterSheet } from './label-sheet.js';

const codeAt = (address: string | undefined) =>
  formatClaimCode({ kind: 'device', secret: createSecret(), rootSha256: 'a5'.repeat(32), address });

t.test('everything of a label stands on it, whatever it has to say', async (t) => {
  for (const { format, hosts } of [
    { format: a4Sheet, hosts: [undefined, 'gateway.local:8443', `${'long.'.repeat(40)}org:8443`] },
    { format: letterSheet, hosts: [undefined, 'gateway.local:8443'] },
  ]) {
    for (const host of hosts) {
      const label = {
        code: codeAt(host),
        site: 'W'.repeat(64),
        device: 'W'.repeat(64),
        model: '',
        expires: undefined,
      };
      const [page] = labelPages([label], format);
      const { left, top } = format.margin;
      for (const shape of page?.shapes ?? []) {
        const width =
          shape.kind === 'bar'
            ? shape.width
            : shape.text.length * shape.size * (shape.font === 'mono' ? 0.6 : 0.5);
        t.ok(shape.x >= left && shape.x + width <= left + format.label.width, 'across');
        t.ok(shape.y >= top && shape.y <= top + format.label.height, 'and down');
      }
    }
  }
});

t.test('the code stands on its label whole, or not at all', async (t) => {
  const textOf = (code: string) => {
    const label = { code, site: 'farm', device: 'pump', model: 'm1', expires: undefined };
    const [page] = labelPages([label]);
    return (page?.shapes ?? []).flatMap((shape) =>
      shape.kind === 'line' && shape.font === 'mono' ? [shape.text] : [],
    );
  };
  const code = codeAt('gateway.local:8443');
  t.equal(textOf(code).join('-'), code);
  t.same(textOf(codeAt(`${'long.'.repeat(40)}org:8443`)), []);
});
