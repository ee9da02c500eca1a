// Times to live: EXPIRE and its relatives, TTL and its relatives, PERSIST.
#include <algorithm>
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
using storage::kNoExpiry;
using storage::UnixMillis;

struct Conditions {
  bool nx = false, xx = false, gt = false, lt = false;
};

// False: the error has been written.
bool ParseConditions(Call& call, Conditions* c) {
  for (size_t i = 3; i < call.argv.size(); ++i) {
    const std::string_view word = call.argv[i];
    if (IsWord(word, "nx")) {
      c->nx = true;
    } else if (IsWord(word, "xx")) {
      c->xx = true;
    } else if (IsWord(word, "gt")) {
      c->gt = true;
    } else if (IsWord(word, "lt")) {
      c->lt = true;
    } else {
      call.reply->Error(std::string("ERR Unsupported option ").append(word));
      return false;
    }
  }
  if (c->nx && (c->xx || c->gt || c->lt)) {
    call.reply->Error("ERR NX and XX, GT or LT options at the same time are not compatible");
    return false;
  }
  if (c->gt && c->lt) {
    call.reply->Error("ERR GT and LT options at the same time are not compatible");
    return false;
  }
  return true;
}

// A key without an expiry lives for ever: later than any time.
bool Allows(const Conditions& c, UnixMillis current, UnixMillis at) {
  if (c.nx && current != kNoExpiry) return false;
  if (c.xx && current == kNoExpiry) return false;
  if (c.gt && (current == kNoExpiry || at <= current)) return false;
  if (c.lt && current != kNoExpiry && at >= current) return false;
  return true;
}

void Expire(Call& call, bool seconds, bool absolute) {
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min(), kMax = std::numeric_limits<int64_t>::max();
  Conditions conditions;
  if (!ParseConditions(call, &conditions)) return;
  int64_t at = 0;
  if (!ParseInt64(call.argv[2], &at)) return call.reply->NotAnInteger();
  if (seconds) {
    if (at > kMax / 1000 || at < kMin / 1000) return InvalidExpireTime(call);
    at *= 1000;
  }
  if (!absolute && __builtin_add_overflow(at, call.shard->now(), &at)) return InvalidExpireTime(call);

  const Key key = call.key(1);
  const Entry* entry = FindToWrite(call, key);
  if (entry == nullptr || !Allows(conditions, entry->expire_at(), at)) return call.reply->Integer(0);
  if (at <= call.shard->now()) {
    call.shard->Delete(call.caller.db, key, "del", call.config->lazyfree_lazy_expire);
  } else {
    call.shard->SetExpiry(call.caller.db, key, at);
  }
  call.reply->Integer(1);
}

enum class Answer { kSeconds, kMillis, kSecondsLeft, kMillisLeft };

void TimeToLive(Call& call, Answer answer) {
  const Entry* entry = FindToRead(call, call.key(1), Touch::kNo);
  if (entry == nullptr) return call.reply->Integer(-2);
  UnixMillis at = entry->expire_at();
  if (at == kNoExpiry) return call.reply->Integer(-1);
  if (answer == Answer::kSecondsLeft || answer == Answer::kMillisLeft) {
    at = std::max<UnixMillis>(at - call.shard->now(), 0);
  }
  if (answer == Answer::kSeconds || answer == Answer::kSecondsLeft) {
    at = at > std::numeric_limits<int64_t>::max() - 500 ? at / 1000 : (at + 500) / 1000;
  }
  call.reply->Integer(at);
}

}  // namespace

void RunExpire(Call& call) { Expire(call, true, false); }

void RunPexpire(Call& call) { Expire(call, false, false); }

void RunExpireat(Call& call) { Expire(call, true, true); }

void RunPexpireat(Call& call) { Expire(call, false, true); }

void RunExpiretime(Call& call) { TimeToLive(call, Answer::kSeconds); }

void RunPexpiretime(Call& call) { TimeToLive(call, Answer::kMillis); }

void RunTtl(Call& call) { TimeToLive(call, Answer::kSecondsLeft); }

void RunPttl(Call& call) { TimeToLive(call, Answer::kMillisLeft); }

void RunPersist(Call& call) {
  const Key key = call.key(1);
  if (FindToWrite(call, key) == nullptr) return call.reply->Integer(0);
  call.reply->Integer(call.shard->ClearExpiry(call.caller.db, key) ? 1 : 0);
}

}  // namespace skein::node
