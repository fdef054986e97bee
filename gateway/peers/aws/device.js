/**
 * A device on one of AWS IoT's SDKs, driven by lines of JSON: the first says what it is, each other one is a call `{id, method, args}`,
 * answered by `{id, result}` or `{id, error}`; what happens to the device is told as `{event, …}`. It ends with its standard input.
 */
import { createInterface } from 'node:readline';

const kinds = { v1: './v1.js', 'v2-requests': './v2-requests.js', 'v2-topics': './v2-topics.js' };

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const { value: first } = await lines.next();
const options = JSON.parse(first);
const { openDevice } = await import(kinds[options.kind]);
const device = await openDevice(options, tell);

for await (const line of { [Symbol.asyncIterator]: () => lines }) {
  const { id, method, args } = JSON.parse(line);
  Promise.resolve()
    .then(() => device[method](...args))
    .then(
      (result) => tell({ id, result: result ?? null }),
      (error) => tell({ id, error: error?.message ?? String(error) }),
    );
}
// Its native part may crash when the program ends by itself.
process.kill(process.pid, 'SIGKILL');
