#!/usr/bin/env node
// grpc-js names IP addresses in SNI, of which Node warns; nobody who types a command can do anything about it.
process.noDeprecation = true;

const { runCli } = await import('../dist/cli/main.js');

process.exitCode = await runCli(process.argv.slice(2));
