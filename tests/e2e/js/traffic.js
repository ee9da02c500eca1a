// A client's traffic through whatever happens to a cluster. Arguments: ioredis or glide, then ports of the nodes.
// What it is asked and answers is said in traffic.py.
'use strict';

const readline = require('readline');

const KEYS = 12;
const ERRORS_KEPT = 100;
const PAUSE_MS = 5; // between two rounds of a key

const makers = {
  async ioredis(ports) {
    const { Cluster } = require('ioredis');
    const client = new Cluster(ports.map((port) => ({ host: '127.0.0.1', port })));
    client.on('error', () => {}); // said to the commands, too
    return { set: (key, value) => client.set(key, value), get: (key) => client.get(key) };
  },
  async glide(ports) {
    const { GlideClusterClient } = require('@valkey/valkey-glide');
    // The default of 250 ms is no rule of retrying, and too short for a busy machine.
    const client = await GlideClusterClient.createClient({
      addresses: ports.map((port) => ({ host: '127.0.0.1', port })),
      requestTimeout: 10000,
    });
    return { set: (key, value) => client.set(key, value), get: (key) => client.get(key) };
  },
};

const state = { written: new Array(KEYS).fill(0), errors: 0, words: [], lost: [] };

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function failed(error) {
  state.errors++;
  if (state.words.length < ERRORS_KEPT) state.words.push(String(error && error.message ? error.message : error));
  return pause(10);
}

// Each key has one writer, which waits for every answer.
async function write(client, name, index) {
  const key = `through:${name}:${index}`;
  let known = 0;
  for (let number = 1; ; number++) {
    await pause(PAUSE_MS);
    try {
      await client.set(key, String(number));
      known = number;
      state.written[index]++;
    } catch (error) {
      await failed(error);
    }
    try {
      const found = Number(await client.get(key));
      if (found < known || found > number) {
        state.lost.push(`${key}: ${found} was read, ${known} was acknowledged`);
        known = found;
      }
    } catch (error) {
      await failed(error);
    }
  }
}

async function main() {
  const name = process.argv[2];
  const client = await makers[name](process.argv.slice(3).map(Number));
  for (let index = 0; index < KEYS; index++) write(client, name, index);
  const lines = readline.createInterface({ input: process.stdin });
  lines.on('line', () => process.stdout.write(JSON.stringify(state) + '\n'));
  lines.on('close', () => process.exit(0));
}

main().catch((error) => {
  process.stderr.write(`${error && error.stack ? error.stack : error}\n`, () => process.exit(1));
});
