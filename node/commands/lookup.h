// What the command families share: finding the entry a command is about, and judging it.
#ifndef SKEIN_NODE_COMMANDS_LOOKUP_H_
#define SKEIN_NODE_COMMANDS_LOOKUP_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "node/call.h"
#include "node/command.h"
#include "node/loop.h"
#include "storage/entry.h"
#include "storage/shard.h"

namespace skein::node {

using Touch = storage::Shard::Touch;

// The live entry for a command that only reads it, counted as a hit or a miss of the keyspace.
inline storage::Entry* FindToRead(Call& call, const storage::Key& key, Touch touch) {
  storage::Entry* entry = call.shard->Find(call.caller.db, key, touch);
  if (call.loop != nullptr) {
    LoopStats& stats = call.loop->stats();
    ++(entry != nullptr ? stats.keyspace_hits : stats.keyspace_misses);
  }
  return entry;
}
inline storage::Entry* FindToRead(Call& call, const storage::Key& key) { return FindToRead(call, key, call.touch()); }

// The live entry for a command that is about to change it.
inline storage::Entry* FindToWrite(Call& call, const storage::Key& key) {
  return call.shard->Find(call.caller.db, key, call.touch());
}

// Whether the entry holds a string; if not, the reply is WRONGTYPE.
inline bool CheckString(Call& call, const storage::Entry& entry) {
  if (entry.type() == storage::ValueType::kString) return true;
  call.reply->WrongType();
  return false;
}

// "ERR invalid expire time in 'getex' command".
inline void InvalidExpireTime(Call& call) {
  call.reply->Error(std::string("ERR invalid expire time in '").append(call.spec->name).append("' command"));
}

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_LOOKUP_H_
