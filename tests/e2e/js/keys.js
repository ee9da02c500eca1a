// What every client does: writes COUNT keys, reads them back, and counts those that came back as written.
'use strict';

const COUNT = 10000;
const BATCH = 500; // commands in flight

// set(key, value) and get(key) return promises. Resolves to the number of keys that came back as written.
async function writeAndRead(prefix, set, get) {
  for (let from = 0; from < COUNT; from += BATCH) {
    const batch = [];
    for (let i = from; i < from + BATCH; i++) batch.push(set(`${prefix}:${i}`, `value ${i}`));
    await Promise.all(batch);
  }
  let good = 0;
  for (let from = 0; from < COUNT; from += BATCH) {
    const batch = [];
    for (let i = from; i < from + BATCH; i++) batch.push(get(`${prefix}:${i}`));
    const values = await Promise.all(batch);
    values.forEach((value, i) => {
      if (String(value) === `value ${from + i}`) good++;
    });
  }
  return good;
}

// Runs `body`, prints what it returns as JSON, and ends the process.
function main(body) {
  body(process.argv.slice(2).map(Number)).then(
    (result) => {
      process.stdout.write(JSON.stringify(result) + '\n', () => process.exit(0));
    },
    (error) => {
      process.stderr.write(`${error && error.stack ? error.stack : error}\n`, () => process.exit(1));
    },
  );
}

module.exports = { COUNT, writeAndRead, main };
