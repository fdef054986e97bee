import t from 'tap';
import { csvLine, parseCsv } from './csv.js';

const fieldsOf = (text: string) => parseCsv(text).map(({ fields }) => fields);

t.test('reads what spreadsheets write', async (t) => {
  t.same(fieldsOf('id,model\nd1,m1\n'), [
    ['id', 'model'],
    ['d1', 'm1'],
  ]);
  t.same(fieldsOf('\ufeffid;model\r\nd1; m,1 \r\n'), [
    ['id', 'model'],
    ['d1', 'm,1'],
  ]);
  t.same(fieldsOf('a,b\r"x ""y"", z",'), [
    ['a', 'b'],
    ['x "y", z', ''],
  ]);
  t.same(fieldsOf(''), []);
});

t.test('says at which line a record begins, blank lines and breaks within counted', async (t) => {
  const records = parseCsv('id,note\n\nd1,"one\ntwo"\n\n\nd2,x');
  t.same(
    records.map(({ line, fields }) => [line, fields[0]]),
    [
      [1, 'id'],
      [3, 'd1'],
      [7, 'd2'],
    ],
  );
});

t.test('refuses quotes that do not fit, with the line', async (t) => {
  t.throws(() => parseCsv('id\n"d1\n'), {
    code: 'REQUEST_INVALID',
    message: /line 2.*never closed/,
  });
  t.throws(() => parseCsv('id\n"d1"x\n'), { message: /line 2.*between/ });
});

t.test('writes what it reads, and nothing that a spreadsheet would compute', async (t) => {
  const fields = ['a', 'b,c', 'd"e', 'f\ng', ''];
  t.same(fieldsOf(csvLine(fields)), [fields]);
  t.equal(csvLine(['=HYPERLINK("x")', '-1']), '"\'=HYPERLINK(""x"")",\'-1\r\n');
});
