/** How a shadow is shown to people. */
import type { Terminal } from '../../terminal.js';
import type { ShadowRow } from './shadow-rows.js';

export const showShadow = (terminal: Terminal, shadow: ShadowRow): void => {
  terminal.json(shadow);
  terminal.line(terminal.paint('dim', `version ${shadow.version}`));
  for (const section of ['desired', 'reported', 'delta'] as const) {
    const state = shadow[section];
    if (state === undefined || Object.keys(state).length === 0) continue;
    const colour = section === 'delta' ? 'yellow' : 'bold';
    terminal.line(terminal.paint(colour, section === 'delta' ? 'differs' : section));
    terminal.line(JSON.stringify(state, null, 2).replace(/^/gm, '  '));
  }
};
