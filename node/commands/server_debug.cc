// DEBUG: what tests of clients and of this node use. Refused unless enable-debug-command says otherwise.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <ctime>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "node/commands/help.h"
#include "node/commands/parse.h"
#include "node/commands/server.h"
#include "node/config/config.h"
#include "node/loop.h"
#include "node/node.h"
#include "node/session.h"
#include "node/util/glob.h"
#include "storage/digest.h"
#include "storage/keyspace.h"
#include "storage/shard.h"

namespace skein::node {
namespace {

bool Allowed(Call& call) {
  const std::string& who = call.config->enable_debug_command;
  if (who == "yes") return true;
  const std::string& from = call.session->state().addr;
  return who == "local" && (from.starts_with("127.") || from.starts_with("[::1]"));
}

void DebugHelp(Call& call) {
  static constexpr std::string_view kLines[] = {
      "DIGEST",
      "    Output a hex signature representing the current DB content.",
      "ERROR <string>",
      "    Return a Redis protocol error with <string> as message. Useful for clients",
      "    unit tests to simulate Redis errors.",
      "OBJECT <key>",
      "    Show low level info about `key` and associated value.",
      "PROTOCOL <type>",
      "    Reply with a test value of the specified type. <type> can be: string,",
      "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
      "    true, false.",
      "SET-ACTIVE-EXPIRE <0|1>",
      "    Setting it to 0 disables expiring keys in background when they are not",
      "    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
      "    default.",
      "SLEEP <seconds>",
      "    Stop the server for <seconds>. Decimals allowed.",
      "SLOT-DIGEST <slot>",
      "    Output the same of the keys of one slot.",
      "STRINGMATCH-LEN <len> <pattern>",
      "    Return 1 if a string of <len> times 'a' matches the <pattern>, else 0.",
  };
  ReplyHelp(call, "DEBUG", kLines);
}

// Stops every loop at once, so that the node hangs as a whole; an hour at most.
void DebugSleep(Call& call) {
  const double asked = std::strtod(std::string(call.argv[2]).c_str(), nullptr);
  const double seconds = std::isfinite(asked) ? std::clamp(asked, 0.0, 3600.0) : 0.0;
  call.node->GatherLoops(
      call,
      [seconds](Loop&) {
        timespec left{};
        left.tv_sec = static_cast<time_t>(seconds);
        left.tv_nsec = static_cast<long>((seconds - std::floor(seconds)) * 1e9);
        while (nanosleep(&left, &left) != 0) {
        }
        return std::string();
      },
      [](ReplyWriter& reply, const std::vector<std::string>&) { reply.Ok(); });
}

void GatherDigests(Call& call, std::function<storage::Digest(storage::Shard&)> of) {
  call.node->GatherShards(
      call,
      [of = std::move(of)](storage::Shard& shard) {
        const storage::Digest digest = of(shard);
        return std::string(reinterpret_cast<const char*>(&digest), sizeof(digest));
      },
      [](ReplyWriter& reply, const std::vector<std::string>& parts) {
        storage::Digest whole;
        for (const std::string& part : parts) {
          storage::Digest digest;
          std::memcpy(&digest, part.data(), sizeof(digest));
          whole ^= digest;
        }
        reply.Status(whole.Hex());
      });
}

// The same wherever the same keys are: on a primary and on its replicas, before and after a restart.
void DebugDigest(Call& call) {
  GatherDigests(call, [](storage::Shard& shard) { return storage::DigestOf(shard); });
}

void DebugSlotDigest(Call& call) {
  int64_t slot;
  if (!ParseInt64(call.argv[2], &slot) || slot < 0 || slot >= storage::kSlots) {
    return call.reply->Error("ERR Invalid or out of range slot");
  }
  const uint32_t owner = static_cast<uint32_t>(slot) % call.node->shard_count();
  GatherDigests(call, [slot, owner](storage::Shard& shard) {
    return shard.index() == owner ? storage::DigestOfSlot(shard, static_cast<uint16_t>(slot)) : storage::Digest();
  });
}

// What the value would take in an RDB file, without compression.
size_t SerializedLength(const storage::Entry& entry) {
  int64_t number;
  if (entry.integer(&number)) {
    if (number >= std::numeric_limits<int8_t>::min() && number <= std::numeric_limits<int8_t>::max()) return 2;
    if (number >= std::numeric_limits<int16_t>::min() && number <= std::numeric_limits<int16_t>::max()) return 3;
    if (number >= std::numeric_limits<int32_t>::min() && number <= std::numeric_limits<int32_t>::max()) return 5;
    return fmt::formatted_size("{}", number) + 1;
  }
  const size_t size = entry.string_size();
  return size + (size < 64 ? 1 : size < 16384 ? 2 : 5);
}

// The line about a key, or nothing. Only looks: an expired key stays for others to remove.
std::string Describe(storage::Shard& shard, uint32_t db, const std::string& name, int64_t unix_seconds) {
  const storage::Entry* const entry = shard.keyspace().db(db).Find(storage::Key(name));
  if (entry == nullptr || shard.IsExpired(*entry)) return "";
  constexpr uint32_t kClockMask = 0xffffff;
  return fmt::format("Value at:{} refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}",
                     static_cast<const void*>(entry), storage::EncodingName(entry->encoding()),
                     SerializedLength(*entry), entry->access(),
                     (static_cast<uint32_t>(unix_seconds) - entry->access()) & kClockMask);
}

void DebugObject(Call& call) {
  const std::string name(call.argv[2]);
  const uint32_t owner = storage::KeySlot(name) % call.node->shard_count();
  call.node->GatherShards(
      call,
      [name, owner, db = call.caller.db, now = call.loop->now_unix_ms() / 1000](storage::Shard& shard) {
        return shard.index() == owner ? Describe(shard, db, name, now) : std::string();
      },
      [owner](ReplyWriter& reply, const std::vector<std::string>& parts) {
        if (parts[owner].empty()) return reply.NoSuchKey();
        reply.Status(parts[owner]);
      });
}

void DebugSetActiveExpire(Call& call) {
  const bool on = std::strtol(std::string(call.argv[2]).c_str(), nullptr, 10) != 0;
  const absl::Status status = call.node->SetConfig({{"debug-active-expire", on ? "yes" : "no"}});
  if (!status.ok()) return call.reply->Error(std::string(status.message()));
  call.reply->Ok();
}

void DebugStringmatchLen(Call& call) {
  int64_t length;
  if (!ParseInt64(call.argv[2], &length) || length < 0 || length > 1 << 20) return call.reply->NotAnInteger();
  call.reply->Integer(GlobMatch(call.argv[3], std::string(static_cast<size_t>(length), 'a')) ? 1 : 0);
}

void ReplyThree(ReplyWriter& r) {
  for (int64_t i = 0; i < 3; ++i) r.Integer(i);
}

void DebugProtocol(Call& call) {
  ReplyWriter& r = *call.reply;
  const std::string_view type = call.argv[2];
  if (IsWord(type, "string")) return r.Bulk("Hello World");
  if (IsWord(type, "integer")) return r.Integer(12345);
  if (IsWord(type, "double")) return r.Double(3.141);
  if (IsWord(type, "null")) return r.Null();
  if (IsWord(type, "array")) return r.Array(3), ReplyThree(r);
  if (IsWord(type, "set")) return r.Set(3), ReplyThree(r);
  if (IsWord(type, "true")) return r.Bool(true);
  if (IsWord(type, "false")) return r.Bool(false);
  if (IsWord(type, "verbatim")) return r.Verbatim("txt", "This is a verbatim\nstring");
  if (IsWord(type, "bignum")) {
    constexpr std::string_view kNumber = "1234567999999999999999999999999999999";
    if (r.resp() < 3) return r.Bulk(kNumber);
    return r.Raw(fmt::format("({}\r\n", kNumber));
  }
  if (IsWord(type, "map")) {
    r.Map(3);
    for (int64_t i = 0; i < 3; ++i) {
      r.Integer(i);
      r.Bool(i == 1);
    }
    return;
  }
  if (IsWord(type, "attrib")) {
    if (r.resp() >= 3) {
      r.Raw("|1\r\n");
      r.Bulk("key-popularity");
      r.Array(2);
      r.Bulk("key:123");
      r.Integer(90);
    }
    return r.Bulk("Some real reply following the attribute");
  }
  if (IsWord(type, "push")) {
    if (r.resp() < 3) return r.Error("ERR RESP2 is not supported by this command");
    r.Push(2);
    r.Bulk("server-cpu-usage");
    r.Integer(42);
    return r.Bulk("Some real reply following the push reply");
  }
  r.Error(
      "ERR Wrong protocol type name. Please use one of the following: "
      "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false");
}

void DebugReload(Call& call) {
  call.reply->Error(fmt::format(
      "ERR DEBUG {} is not available: data is read when the node starts, from its own files; restart it instead",
      call.argv[1]));
}

struct Subcommand {
  std::string_view name;
  size_t argc;
  void (*run)(Call&);
};

constexpr Subcommand kSubcommands[] = {
    {"digest", 2, DebugDigest},
    {"help", 2, DebugHelp},
    {"loadaof", 2, DebugReload},
    {"object", 3, DebugObject},
    {"protocol", 3, DebugProtocol},
    {"reload", 0, DebugReload},
    {"sleep", 3, DebugSleep},
    {"set-active-expire", 3, DebugSetActiveExpire},
    {"slot-digest", 3, DebugSlotDigest},
    {"stringmatch-len", 4, DebugStringmatchLen},
};

}  // namespace

void RunDebug(Call& call) {
  if (!Allowed(call)) {
    return call.reply->Error(
        "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a "
        "local connection, otherwise you need to set this option in the configuration file, and then restart the "
        "server.");
  }
  if (IsWord(call.argv[1], "error") && call.argv.size() == 3) return call.reply->Error(call.argv[2]);
  for (const Subcommand& sub : kSubcommands) {
    if (!IsWord(call.argv[1], sub.name)) continue;
    if (sub.argc == 0 || sub.argc == call.argv.size()) return sub.run(call);
  }
  call.reply->Error(fmt::format("ERR unknown subcommand or wrong number of arguments for '{}'. Try DEBUG HELP.",
                                call.argv[1].substr(0, 128)));
}

}  // namespace skein::node
