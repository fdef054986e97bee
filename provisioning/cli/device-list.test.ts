import t from 'tap';
import { parseDeviceList } from './device-list.js';

t.test('takes the good lines, every other column as a label', async (t) => {
  const { devices, bad } = parseDeviceList(
    'id,model,hall,serial_no,site\npump-1,m1,3,SN7,farm\npump-2,m1,,,\n',
  );
  t.same(bad, []);
  t.same(devices, [
    {
      line: 2,
      device: 'pump-1',
      model: 'm1',
      site: 'farm',
      serialNo: 'SN7',
      labels: { hall: '3' },
    },
    { line: 3, device: 'pump-2', model: 'm1', site: undefined, serialNo: '', labels: {} },
  ]);
});

t.test('says of each bad line which it is, what is wrong and what to do', async (t) => {
  const { devices, bad } = parseDeviceList(
    [
      'id,model,site',
      'a b,m1',
      ',m1',
      'd1,',
      'd2,m1,no/site',
      'd3,m1,farm,x',
      'd4,m1',
      'd4,m1',
    ].join('\n'),
  );
  t.same(
    devices.map(({ device }) => device),
    ['d4'],
  );
  t.match(bad, [
    { line: 2, device: 'a b', problem: /no device id/, next: /letters/ },
    { line: 3, device: '', problem: /names no device/ },
    { line: 4, device: 'd1', problem: /no model/, next: /column model/ },
    { line: 5, device: 'd2', problem: /no site/ },
    { line: 6, device: 'd3', problem: /4 fields/, next: /quotes/ },
    { line: 8, device: 'd4', problem: /line 7 too/ },
  ]);
});

t.test('takes no file that is no list', async (t) => {
  for (const [text, message] of [
    ['', /names no id/],
    ['name,model\nx,y', /begin the file with id,model/],
    ['id\nd1', /names no model/],
    ['id,model,hall,hall\n', /'hall' stands there twice/],
  ] as const) {
    t.throws(() => parseDeviceList(text), { code: 'REQUEST_INVALID', message });
  }
});
