#!/usr/bin/env node
import { runQuickstart } from '../dist/quickstart/main.js';

process.exitCode = await runQuickstart(process.argv.slice(2));
