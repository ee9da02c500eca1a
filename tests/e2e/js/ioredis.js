// ioredis, cluster client. Arguments: ports of the nodes.
'use strict';

const { Cluster } = require('ioredis');
const { main, writeAndRead } = require('./keys');

main(async (ports) => {
  const client = new Cluster(
    ports.map((port) => ({ host: '127.0.0.1', port })),
    { enableReadyCheck: true, redisOptions: { connectTimeout: 5000 } },
  );
  const good = await writeAndRead('ioredis', (key, value) => client.set(key, value), (key) => client.get(key));
  const incremented = await client.incr('ioredis:counter');
  const together = await client.mget('{ioredis}a', '{ioredis}b');
  const crossing = await client.mget('ioredis:1', 'ioredis:2').catch((error) => error.message);
  const nodes = client.nodes('master').length;
  await client.quit();
  return { good, nodes, incremented, together, crossing };
});
