// OBJECT: what is known about a key beside its value.
#include <cstdint>

#include "node/commands/generic.h"
#include "node/commands/help.h"
#include "node/commands/lookup.h"
#include "node/config/config.h"

namespace skein::node {
namespace {

using storage::Entry;

// The 24 bits of access data are the clock in seconds (LRU), or 16 bits of clock in minutes and 8 bits of logarithmic
// counter (LFU).
constexpr uint32_t kClockMask = 0xffffff;

// The entry that OBJECT looks at, without being seen to; if there is none, the reply is null.
const Entry* Examine(Call& call) {
  const Entry* entry = FindToRead(call, call.key(2), Touch::kNo);
  if (entry == nullptr) call.reply->Null();
  return entry;
}

}  // namespace

bool UsesLfu(const Config& config) { return config.maxmemory_policy.find("lfu") != std::string::npos; }

void RunObjectEncoding(Call& call) {
  if (const Entry* entry = Examine(call)) call.reply->Bulk(storage::EncodingName(entry->encoding()));
}

// Values are never shared between keys.
void RunObjectRefcount(Call& call) {
  if (Examine(call) != nullptr) call.reply->Integer(1);
}

void RunObjectIdletime(Call& call) {
  const Entry* entry = Examine(call);
  if (entry == nullptr) return;
  if (UsesLfu(*call.config)) {
    return call.reply->Error(
        "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between "
        "policies at runtime LRU and LFU data will take some time to adjust.");
  }
  const auto now = static_cast<uint32_t>(call.shard->now() / 1000);
  call.reply->Integer((now - entry->access()) & kClockMask);
}

void RunObjectFreq(Call& call) {
  const Entry* entry = Examine(call);
  if (entry == nullptr) return;
  if (!UsesLfu(*call.config)) {
    return call.reply->Error(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching "
        "between policies at runtime LRU and LFU data will take some time to adjust.");
  }
  // The counter loses one a minute without an access (lfu-decay-time 1).
  const uint32_t counter = entry->access() & 0xff, since = entry->access() >> 8;
  const auto minutes = static_cast<uint32_t>(call.shard->now() / 60000);
  const uint32_t elapsed = (minutes - since) & 0xffff;
  call.reply->Integer(elapsed > counter ? 0 : counter - elapsed);
}

void RunObjectHelp(Call& call) {
  static constexpr std::string_view kLines[] = {
      "ENCODING <key>",
      "    Return the kind of internal representation used in order to store the value",
      "    associated with a <key>.",
      "FREQ <key>",
      "    Return the access frequency index of the <key>. The returned integer is",
      "    proportional to the logarithm of the recent access frequency of the key.",
      "IDLETIME <key>",
      "    Return the idle time of the <key>, that is the approximated number of",
      "    seconds elapsed since the last access to the key.",
      "REFCOUNT <key>",
      "    Return the number of references of the value associated with the specified",
      "    <key>.",
  };
  ReplyHelp(call, "OBJECT", kLines);
}

}  // namespace skein::node
