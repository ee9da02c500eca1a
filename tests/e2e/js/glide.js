// Valkey GLIDE, cluster client. Arguments: ports of the nodes.
'use strict';

const { GlideClusterClient, ProtocolVersion } = require('@valkey/valkey-glide');
const { main, writeAndRead } = require('./keys');

main(async (ports) => {
  const result = {};
  for (const [name, protocol] of [['resp2', ProtocolVersion.RESP2], ['resp3', ProtocolVersion.RESP3]]) {
    const client = await GlideClusterClient.createClient({
      addresses: ports.map((port) => ({ host: '127.0.0.1', port })),
      protocol,
      requestTimeout: 10000,
      clientName: 'glide',
    });
    const good = await writeAndRead(`glide:${name}`, (key, value) => client.set(key, value), (key) => client.get(key));
    // Goes to every node, and its answers are added up by the client.
    const size = await client.dbsize();
    result[name] = { good, size };
    client.close();
  }
  return result;
});
