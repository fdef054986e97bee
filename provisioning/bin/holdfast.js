#!/usr/bin/env node
import { runCli } from '../dist/cli/main.js';

// grpc-js names IP addresses in SNI, of which Node warns; nobody who types a command can do anything about it.
process.noDeprecation = true;
process.exitCode = await runCli(process.argv.slice(2));
