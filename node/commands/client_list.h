// Subcommands of CLIENT that concern other clients too. A client may live on any loop: they are gathered from all.
#ifndef SKEIN_NODE_COMMANDS_CLIENT_LIST_H_
#define SKEIN_NODE_COMMANDS_CLIENT_LIST_H_

#include "node/call.h"

namespace skein::node {

void ClientList(Call& call);
void ClientInfo(Call& call);
void ClientKill(Call& call);

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_CLIENT_LIST_H_
