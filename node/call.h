// One command being executed, as its implementation sees it.
//
// A command's `scope` (CommandSpec) says where it runs and which fields are set:
//   kSession    on the loop of the client's session: `session` is set. May answer later (Defer, node/node.h).
//   kShard      on the loop that hosts the shard of its keys (or the one its `route` names): `shard` is set and inside
//   a
//               Begin/End bracket; `session` is null: the client may live on another loop. `caller` holds what is
//               needed of it.
//   kAllShards  `run` once on every shard, each writing a partial of its own form into `reply`; then `merge` on the
//               session's loop with the partials in shard order, writing the client's reply.
#ifndef SKEIN_NODE_CALL_H_
#define SKEIN_NODE_CALL_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "node/reply.h"
#include "storage/shard.h"
#include "storage/types.h"

namespace skein::node {

class Loop;
class Node;
class Session;
struct CommandSpec;
struct Config;

using Args = std::span<const std::string_view>;

// What a command may need to know of its client, copied when the command is handed to another loop.
struct Caller {
  uint64_t client_id = 0;
  uint32_t db = 0;
  uint8_t resp = 2;
  bool asking = false;        // ASKING came just before
  bool readonly = false;      // READONLY was sent
  bool no_touch : 1 = false;  // CLIENT NO-TOUCH on
  bool tls : 1 = false;       // it came by TLS, and is told TLS ports
};
static_assert(sizeof(Caller) == 16, "it is copied for every command, in two registers");

struct Call {
  const CommandSpec* spec;
  Args argv;  // argv[0] is the name as the client sent it; views that live until `run` returns
  ReplyWriter* reply;
  Caller caller;
  storage::Shard* shard = nullptr;
  Session* session = nullptr;
  Loop* loop = nullptr;  // the loop this runs on
  Node* node = nullptr;
  const Config* config = nullptr;  // the loop's snapshot
  // The first key, already hashed, when the command table finds one (kShard).
  const storage::Key* first_key = nullptr;

  // The argument as a key: the precomputed one where it is the first key.
  storage::Key key(size_t i) const {
    if (first_key != nullptr && argv[i].data() == first_key->bytes.data() &&
        argv[i].size() == first_key->bytes.size()) {
      return *first_key;
    }
    return storage::Key(argv[i]);
  }
  storage::Shard::Touch touch() const {
    return caller.no_touch ? storage::Shard::Touch::kNo : storage::Shard::Touch::kYes;
  }
};

}  // namespace skein::node

#endif  // SKEIN_NODE_CALL_H_
