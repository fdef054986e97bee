#!/usr/bin/env node
import { runDevice } from '../dist/agent/main.js';

await runDevice();
