// Commands on keys of any type: DEL, UNLINK, EXISTS, TOUCH, TYPE, RENAME, RENAMENX, COPY, MOVE.
#include <cstdint>
#include <limits>
#include <string>

#include "node/commands/generic.h"
#include "node/commands/lookup.h"
#include "node/commands/parse.h"
#include "node/config/config.h"

namespace skein::node {
namespace {

using storage::Entry;
using storage::Key;

void Remove(Call& call, bool lazy) {
  int64_t removed = 0;
  for (size_t i = 1; i < call.argv.size(); ++i) {
    removed += call.shard->Delete(call.caller.db, call.key(i), "del", lazy) ? 1 : 0;
  }
  call.reply->Integer(removed);
}

void CountExisting(Call& call, Touch touch) {
  int64_t found = 0;
  for (size_t i = 1; i < call.argv.size(); ++i) found += FindToRead(call, call.key(i), touch) != nullptr ? 1 : 0;
  call.reply->Integer(found);
}

// Reads a database number; writes the error if it is none of this node's.
bool ParseDatabase(Call& call, std::string_view text, uint32_t* db) {
  int64_t n = 0;
  if (!ParseInt64(text, &n)) {
    call.reply->NotAnInteger();
    return false;
  }
  if (n < std::numeric_limits<int32_t>::min() || n > std::numeric_limits<int32_t>::max()) {
    call.reply->Error("ERR value is out of range, value must between -2147483648 and 2147483647");
    return false;
  }
  if (n < 0 || n >= call.shard->databases()) {
    call.reply->Error("ERR DB index is out of range");
    return false;
  }
  *db = static_cast<uint32_t>(n);
  return true;
}

void RenameKey(Call& call, bool only_to_new) {
  const Key from = call.key(1), to = call.key(2);
  if (FindToWrite(call, from) == nullptr) return call.reply->NoSuchKey();
  if (from.bytes != to.bytes) {
    if (FindToWrite(call, to) != nullptr && only_to_new) return call.reply->Integer(0);
    call.shard->Rename(call.caller.db, from, to);
  } else if (only_to_new) {
    return call.reply->Integer(0);
  }
  if (only_to_new) {
    call.reply->Integer(1);
  } else {
    call.reply->Ok();
  }
}

}  // namespace

void RunDel(Call& call) { Remove(call, call.config->lazyfree_lazy_user_del); }

void RunUnlink(Call& call) { Remove(call, true); }

void RunExists(Call& call) { CountExisting(call, Touch::kNo); }

void RunTouch(Call& call) { CountExisting(call, Touch::kYes); }

void RunType(Call& call) {
  const Entry* entry = FindToRead(call, call.key(1), Touch::kNo);
  call.reply->Status(entry == nullptr ? "none" : storage::TypeName(entry->type()));
}

void RunRename(Call& call) { RenameKey(call, false); }

void RunRenamenx(Call& call) { RenameKey(call, true); }

void RunCopy(Call& call) {
  uint32_t to_db = call.caller.db;
  bool replace = false;
  for (size_t i = 3; i < call.argv.size(); ++i) {
    if (IsWord(call.argv[i], "replace")) {
      replace = true;
    } else if (IsWord(call.argv[i], "db") && i + 1 < call.argv.size()) {
      if (!ParseDatabase(call, call.argv[++i], &to_db)) return;
    } else {
      return call.reply->SyntaxError();
    }
  }
  if (call.config->cluster_enabled && (call.caller.db != 0 || to_db != 0)) {
    return call.reply->Error("ERR Copying to another database is not allowed in cluster mode");
  }
  const Key from = call.key(1), to = call.key(2);
  if (to_db == call.caller.db && from.bytes == to.bytes) {
    return call.reply->Error("ERR source and destination objects are the same");
  }
  if (FindToRead(call, from) == nullptr) return call.reply->Integer(0);
  if (call.shard->Find(to_db, to, call.touch()) != nullptr && !replace) return call.reply->Integer(0);
  call.shard->Copy(call.caller.db, from, to_db, to);
  call.reply->Integer(1);
}

void RunMove(Call& call) {
  if (call.config->cluster_enabled) return call.reply->Error("ERR MOVE is not allowed in cluster mode");
  uint32_t to_db = 0;
  if (!ParseDatabase(call, call.argv[2], &to_db)) return;
  if (to_db == call.caller.db) return call.reply->Error("ERR source and destination objects are the same");
  const Key key = call.key(1);
  if (FindToWrite(call, key) == nullptr) return call.reply->Integer(0);
  if (call.shard->Find(to_db, key, call.touch()) != nullptr) return call.reply->Integer(0);
  call.shard->Move(call.caller.db, key, to_db);
  call.reply->Integer(1);
}

}  // namespace skein::node
