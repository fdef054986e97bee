/** The control plane as a program that lives so many milliseconds later: `HOLDFAST_SHIFTED_MS`. For tests in which time passes. */
import { main } from '../main.js';

const shiftMs = Number(process.env.HOLDFAST_SHIFTED_MS ?? 0);
await main({ now: () => Date.now() + shiftMs });
