// node-redis, cluster client. Arguments: ports of the nodes.
'use strict';

const { createCluster } = require('redis');
const { main, writeAndRead } = require('./keys');

main(async (ports) => {
  const client = createCluster({ rootNodes: ports.map((port) => ({ url: `redis://127.0.0.1:${port}` })) });
  client.on('error', () => {});
  await client.connect();
  const good = await writeAndRead('node-redis', (key, value) => client.set(key, value), (key) => client.get(key));
  const nodes = client.masters.length;
  await client.close();
  return { good, nodes };
});
