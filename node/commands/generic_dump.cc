// DUMP and RESTORE: values as serialized by the RDB format. What RESTORE logs is the value that it set.
#include <cstdint>
#include <limits>
#include <string>

#include "node/commands/families.h"
#include "node/commands/generic.h"
#include "node/commands/lookup.h"
#include "node/commands/parse.h"
#include "node/config/config.h"
#include "storage/rdb/decoder.h"
#include "storage/rdb/encoder.h"

namespace skein::node {
namespace {

using storage::Entry;
using storage::IntText;
using storage::Key;
using storage::kNoExpiry;
using storage::RdbItem;
using storage::UnixMillis;

// The options of RESTORE.
struct Options {
  bool replace = false, absolute = false;
  int64_t idle_seconds = -1, frequency = -1;  // -1: not given
};

// Reads the options from argv[4] on. False: the error has been written.
bool ParseOptions(Call& call, Options* o) {
  for (size_t i = 4; i < call.argv.size(); ++i) {
    const std::string_view word = call.argv[i];
    const bool more = i + 1 < call.argv.size();
    int64_t* number = nullptr;
    if (IsWord(word, "replace")) {
      o->replace = true;
    } else if (IsWord(word, "absttl")) {
      o->absolute = true;
    } else if (more && o->frequency < 0 && IsWord(word, "idletime")) {
      number = &o->idle_seconds;
    } else if (more && o->idle_seconds < 0 && IsWord(word, "freq")) {
      number = &o->frequency;
    } else {
      call.reply->SyntaxError();
      return false;
    }
    if (number == nullptr) continue;
    if (!ParseInt64(call.argv[++i], number)) {
      call.reply->NotAnInteger();
      return false;
    }
    if (number == &o->idle_seconds && *number < 0) {
      call.reply->Error("ERR Invalid IDLETIME value, must be >= 0");
      return false;
    }
    if (number == &o->frequency && (*number < 0 || *number > 255)) {
      call.reply->Error("ERR Invalid FREQ value, must be >= 0 and <= 255");
      return false;
    }
  }
  return true;
}

// The time that the argument means, kNoExpiry for 0. False: the error has been written.
bool ParseTtl(Call& call, bool absolute, UnixMillis* at) {
  int64_t ttl;
  if (!ParseInt64(call.argv[2], &ttl)) {
    call.reply->NotAnInteger();
    return false;
  }
  if (ttl < 0) {
    call.reply->Error("ERR Invalid TTL value, must be >= 0");
    return false;
  }
  *at = kNoExpiry;
  if (ttl == 0) return true;
  const UnixMillis now = call.shard->now();
  // Redis wraps around here: the key is gone. That is nobody's wish.
  if (!absolute && ttl > std::numeric_limits<int64_t>::max() - now) {
    InvalidExpireTime(call);
    return false;
  }
  *at = absolute ? ttl : now + ttl;
  return true;
}

void RunDump(Call& call) {
  const Entry* entry = FindToRead(call, call.key(1));
  if (entry == nullptr) return call.reply->Null();
  IntText scratch;
  RdbItem item;
  item.type = entry->type();
  item.string = entry->string(&scratch);
  call.reply->Bulk(storage::EncodeDumpPayload(item, call.config->rdbcompression));
}

void RunRestore(Call& call) {
  Options o;
  if (!ParseOptions(call, &o)) return;
  const Key key = call.key(1);
  const uint32_t db = call.caller.db;
  if (!o.replace && FindToWrite(call, key) != nullptr) {
    return call.reply->Error("BUSYKEY Target key name already exists.");
  }
  UnixMillis expire_at;
  if (!ParseTtl(call, o.absolute, &expire_at)) return;
  std::string decompressed;
  const absl::StatusOr<RdbItem> item = storage::DecodeDumpPayload(call.argv[3], &decompressed);
  if (!item.ok()) return call.reply->Error("ERR " + std::string(item.status().message()));
  const UnixMillis now = call.shard->now();
  if (expire_at != kNoExpiry && expire_at <= now) {
    // Over before it began. Without REPLACE there is nothing to delete.
    call.shard->Delete(db, key, "del", /*lazy=*/true);
    return call.reply->Ok();
  }
  call.shard->SetString(db, key, item->string, expire_at, "restore");
  const bool lfu = UsesLfu(*call.config);
  if (lfu ? o.frequency >= 0 : o.idle_seconds >= 0) {
    Entry* const entry = call.shard->Find(db, key, Touch::kNo);
    entry->set_access(lfu ? storage::AccessOfFrequency(now, static_cast<uint8_t>(o.frequency))
                          : storage::AccessOfIdle(now, static_cast<uint64_t>(o.idle_seconds)));
  }
  call.reply->Ok();
}

// ---- The rows -----------------------------------------------------------------------------------------------------

constexpr KeySpec kRoAccess[] = {{.flags = KeySpec::kRo | KeySpec::kAccess}};
constexpr KeySpec kOwUpdate[] = {{.flags = KeySpec::kOw | KeySpec::kUpdate}};
constexpr ArgDoc kKeyArg[] = {
    {.name = "key", .type = "key", .key_spec_index = 0},
};
constexpr const char* kNondeterministicTips[] = {"nondeterministic_output"};
constexpr ArgDoc kRestoreArgs[] = {
    {.name = "key", .type = "key", .key_spec_index = 0},
    {.name = "ttl", .type = "integer"},
    {.name = "serialized-value", .type = "string"},
    {.name = "replace", .type = "pure-token", .token = "REPLACE", .flags = ArgDoc::kOptional, .since = "3.0.0"},
    {.name = "absttl", .type = "pure-token", .token = "ABSTTL", .flags = ArgDoc::kOptional, .since = "5.0.0"},
    {.name = "seconds", .type = "integer", .token = "IDLETIME", .flags = ArgDoc::kOptional, .since = "5.0.0"},
    {.name = "frequency", .type = "integer", .token = "FREQ", .flags = ArgDoc::kOptional, .since = "5.0.0"},
};
constexpr CommandNote kRestoreHistory[] = {
    {"3.0.0", "Added the `REPLACE` modifier."},
    {"5.0.0", "Added the `ABSTTL` modifier."},
    {"5.0.0", "Added the `IDLETIME` and `FREQ` options."},
};
constexpr const char* kRestoreComplexity =
    "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, where N is the number of "
    "Redis objects composing the value and M their average size. For small string values the time complexity is thus "
    "O(1)+O(1*M) where M is small, so simply O(1). However for sorted set values the complexity is O(N*M*log(N)) "
    "because inserting values into sorted sets is O(log(N)).";

constexpr CommandSpec kSerializationCommands[] = {
    {.name = "dump",
     .group = "generic",
     .since = "2.6.0",
     .summary = "Return a serialized version of the value stored at the specified key.",
     .complexity =
         "O(1) to access the key and additional O(N*M) to serialize it, where N is the number of Redis objects "
         "composing the value and M their average size. For small string values the time complexity is thus "
         "O(1)+O(1*M) where M is small, so simply O(1).",
     .arity = 2,
     .flags = kFlagReadonly,
     .acl = kAclKeyspace,
     .scope = Scope::kShard,
     .run = RunDump,
     .keys = kRoAccess,
     .args = kKeyArg,
     .tips = kNondeterministicTips},
    {.name = "restore",
     .group = "generic",
     .since = "2.6.0",
     .summary = "Create a key using the provided serialized value, previously obtained using DUMP.",
     .complexity = kRestoreComplexity,
     .arity = -4,
     .flags = kFlagWrite | kFlagDenyOom,
     .acl = kAclKeyspace | kAclDangerous,
     .scope = Scope::kShard,
     .run = RunRestore,
     .keys = kOwUpdate,
     .args = kRestoreArgs,
     .history = kRestoreHistory},
    // As RESTORE, and served for a slot that is being taken over, without ASKING.
    {.name = "restore-asking",
     .group = "server",
     .since = "3.0.0",
     .summary = "An internal command for migrating keys in a cluster",
     .complexity = kRestoreComplexity,
     .arity = -4,
     .flags = kFlagWrite | kFlagDenyOom | kFlagAsking,
     .acl = kAclKeyspace | kAclDangerous,
     .scope = Scope::kShard,
     .run = RunRestore,
     .keys = kOwUpdate,
     .args = kRestoreArgs,
     .history = kRestoreHistory},
};

}  // namespace

std::span<const CommandSpec> SerializationCommands() { return kSerializationCommands; }

}  // namespace skein::node
