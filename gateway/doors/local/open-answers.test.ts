import { once } from 'node:events';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import t from 'tap';
import { OpenAnswers } from './open-answers.js';

const exchange = () => ({ response: new ServerResponse(new IncomingMessage(new Socket())) });

const whileRead = async (signal: AbortSignal): Promise<void> => {
  if (!signal.aborted) await once(signal, 'abort');
};

t.test('a reader that went before the answer began keeps no place', async (t) => {
  const answers = new OpenAnswers({ name: 'watches', most: 1 });
  const { response } = exchange();
  response.destroy();
  await answers.answer({ response }, whileRead);
  const next = answers.answer(exchange(), whileRead);
  await t.rejects(answers.answer(exchange(), whileRead), {
    code: 'REQUEST_THROTTLED',
    message: '1 watches are open here already',
  });
  answers.close();
  await next;
});
