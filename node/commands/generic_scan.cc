// KEYS and SCAN.
//
// SCAN walks the shards one after the other. Its cursor is all the state there is:
//
//     bits 0..13    the shard's index (a slot number: shard i hosts slot i, and that slot routes the call)
//     bits 14..61   where the shard's own scan stands
//
// 0 starts and ends. A call works on one shard only, so its work is bounded by COUNT; when the shard's scan is through,
// the cursor names the next shard. A key that is there throughout is in one shard throughout, and that shard's scan
// delivers it; so the guarantee of one shard is the guarantee of the node. A cursor that names a shard that is not
// there (made up, or from before a restart with fewer shards) ends the scan.
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include "node/buffer.h"
#include "node/commands/generic.h"
#include "node/commands/lookup.h"
#include "node/commands/parse.h"
#include "node/config/config.h"
#include "node/node.h"
#include "node/util/glob.h"
#include "storage/slot.h"

namespace skein::node {
namespace {

using storage::Entry;
using storage::kNoSlot;

constexpr int kShardBits = 14;
constexpr uint64_t kShardMask = (uint64_t{1} << kShardBits) - 1;
constexpr uint64_t kScanMask = (uint64_t{1} << 48) - 1;
constexpr int64_t kDefaultCount = 10;
static_assert(storage::kSlots == kShardMask + 1);

bool MatchesEverything(std::string_view pattern) { return pattern == "*"; }

// The one slot that all keys matching `pattern` are in, if the pattern says so: it is a literal, or a literal up to the
// end of its hash tag.
uint16_t SlotOfPattern(std::string_view pattern) {
  if (GlobIsLiteral(pattern)) return storage::KeySlot(pattern);
  const size_t open = pattern.find('{');
  if (open == std::string_view::npos) return kNoSlot;
  const size_t close = pattern.find('}', open + 1);
  if (close == std::string_view::npos || close == open + 1) return kNoSlot;
  const std::string_view head = pattern.substr(0, close + 1);
  return GlobIsLiteral(head) ? storage::KeySlot(head) : kNoSlot;
}

}  // namespace

// A partial is the number of keys, as eight bytes, and the keys as bulk strings.
void RunKeys(Call& call) {
  const std::string_view pattern = call.argv[1];
  Buffer* out = call.reply->buffer();
  const size_t head = out->size();
  uint64_t count = 0;
  out->Append({reinterpret_cast<const char*>(&count), sizeof(count)});
  const bool all = MatchesEverything(pattern);
  const uint16_t slot = SlotOfPattern(pattern);
  if (slot == kNoSlot || slot % call.node->shard_count() == call.shard->index()) {
    constexpr size_t kAtOnce = 4096;
    uint64_t cursor = 0;
    do {
      cursor = call.shard->Scan(call.caller.db, cursor, kAtOnce, slot, [&](const Entry& entry) {
        if (call.shard->IsExpired(entry) || (!all && !GlobMatch(pattern, entry.key()))) return;
        call.reply->Bulk(entry.key());
        ++count;
      });
    } while (cursor != 0);
  }
  std::memcpy(out->data() + head, &count, sizeof(count));
}

void MergeKeys(Call& call, Partials partials) {
  uint64_t total = 0;
  for (const std::string_view partial : partials) {
    uint64_t count = 0;
    std::memcpy(&count, partial.data(), sizeof(count));
    total += count;
  }
  call.reply->Array(total);
  for (const std::string_view partial : partials) call.reply->Raw(partial.substr(sizeof(uint64_t)));
}

std::optional<uint16_t> RouteScan(Args argv) {
  uint64_t cursor = 0;
  if (argv.size() < 2 || !ParseUint64(argv[1], &cursor)) return std::nullopt;
  return static_cast<uint16_t>(cursor & kShardMask);
}

void RunScan(Call& call) {
  uint64_t cursor = 0;
  if (!ParseUint64(call.argv[1], &cursor)) return call.reply->Error("ERR invalid cursor");
  int64_t count = kDefaultCount;
  std::string_view pattern = "*", type;
  for (size_t i = 2; i < call.argv.size(); i += 2) {
    const std::string_view word = call.argv[i];
    if (i + 1 == call.argv.size()) return call.reply->SyntaxError();
    if (IsWord(word, "count")) {
      if (!ParseInt64(call.argv[i + 1], &count)) return call.reply->NotAnInteger();
      if (count < 1) return call.reply->SyntaxError();
    } else if (IsWord(word, "match")) {
      pattern = call.argv[i + 1];
    } else if (IsWord(word, "type")) {
      type = call.argv[i + 1];
    } else {
      return call.reply->SyntaxError();
    }
  }

  const uint32_t shards = call.node->shard_count();
  const uint64_t shard = cursor & kShardMask;
  Buffer found;  // the number of keys stands before them and is known after them
  ReplyWriter keys(&found, call.reply->resp());
  size_t total = 0;
  uint64_t next = 0;
  if (shard < shards) {
    const bool all = MatchesEverything(pattern);
    next = call.shard->Scan(call.caller.db, (cursor >> kShardBits) & kScanMask, static_cast<size_t>(count), kNoSlot,
                            [&](const Entry& entry) {
                              if (!all && !GlobMatch(pattern, entry.key())) return;
                              if (type.data() != nullptr && !IsWord(type, storage::TypeName(entry.type()))) return;
                              if (call.shard->IsExpired(entry)) return;
                              keys.Bulk(entry.key());
                              ++total;
                            });
    if (next != 0) {
      next = next << kShardBits | shard;
    } else if (shard + 1 < shards) {
      next = shard + 1;
    }
  }
  call.reply->Array(2);
  call.reply->Bulk(std::to_string(next));
  call.reply->Array(total);
  call.reply->Raw(found.view());
}

}  // namespace skein::node
