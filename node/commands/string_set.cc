// Commands that set whole strings: SET and its relatives, GETEX, GETDEL, GETSET, MSET, MSETNX.
#include <cstdint>
#include <limits>
#include <optional>

#include "node/commands/lookup.h"
#include "node/commands/parse.h"
#include "node/commands/string.h"
#include "node/config/config.h"

namespace skein::node {
namespace {

using storage::Entry;
using storage::IntText;
using storage::Key;
using storage::kNoExpiry;
using storage::UnixMillis;

// The options of SET and GETEX.
struct Options {
  bool nx = false, xx = false, get = false, keepttl = false, persist = false;
  std::string_view expire;  // the number as given; data() null if none
  bool seconds = false, absolute = false;

  bool has_expire() const { return expire.data() != nullptr; }
};

// Takes "EX 10" and the like; an expiry of another kind given before excludes it.
bool TakeExpire(Options& o, std::string_view number, bool seconds, bool absolute) {
  if (o.keepttl || o.persist) return false;
  if (o.has_expire() && (o.seconds != seconds || o.absolute != absolute)) return false;
  o.expire = number;
  o.seconds = seconds;
  o.absolute = absolute;
  return true;
}

// Reads the options from argv[first] on. False: a syntax error.
bool ParseOptions(Args argv, size_t first, bool is_set, Options* o) {
  for (size_t i = first; i < argv.size(); ++i) {
    const std::string_view word = argv[i];
    const bool more = i + 1 < argv.size();
    if (is_set && IsWord(word, "nx") && !o->xx) {
      o->nx = true;
    } else if (is_set && IsWord(word, "xx") && !o->nx) {
      o->xx = true;
    } else if (is_set && IsWord(word, "get")) {
      o->get = true;
    } else if (is_set && IsWord(word, "keepttl") && !o->has_expire()) {
      o->keepttl = true;
    } else if (!is_set && IsWord(word, "persist") && !o->has_expire()) {
      o->persist = true;
    } else if (more && IsWord(word, "ex")) {
      if (!TakeExpire(*o, argv[++i], true, false)) return false;
    } else if (more && IsWord(word, "px")) {
      if (!TakeExpire(*o, argv[++i], false, false)) return false;
    } else if (more && IsWord(word, "exat")) {
      if (!TakeExpire(*o, argv[++i], true, true)) return false;
    } else if (more && IsWord(word, "pxat")) {
      if (!TakeExpire(*o, argv[++i], false, true)) return false;
    } else {
      return false;
    }
  }
  return true;
}

// The absolute time that an expiry argument means; writes the error if it is none.
std::optional<UnixMillis> ExpireTime(Call& call, std::string_view text, bool seconds, bool absolute) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  int64_t at = 0;
  if (!ParseInt64(text, &at)) {
    call.reply->NotAnInteger();
    return std::nullopt;
  }
  if (at <= 0 || (seconds && at > kMax / 1000)) {
    InvalidExpireTime(call);
    return std::nullopt;
  }
  if (seconds) at *= 1000;
  if (!absolute) {
    if (at > kMax - call.shard->now()) {
      InvalidExpireTime(call);
      return std::nullopt;
    }
    at += call.shard->now();
  }
  return at;
}

// Replies with the string (null if there is none), as GET does. False: WRONGTYPE has been written.
bool ReplyString(Call& call, const Entry* entry) {
  if (entry == nullptr) {
    call.reply->Null();
    return true;
  }
  if (!CheckString(call, *entry)) return false;
  IntText scratch;
  call.reply->Bulk(entry->string(&scratch));
  return true;
}

void SetWithExpiry(Call& call, bool seconds) {
  const std::optional<UnixMillis> at = ExpireTime(call, call.argv[2], seconds, false);
  if (!at) return;
  call.shard->SetString(call.caller.db, call.key(1), call.argv[3], *at, "set");
  call.reply->Ok();
}

}  // namespace

void RunSet(Call& call) {
  const Key key = call.key(1);
  if (call.argv.size() == 3) {  // by far the most frequent form
    call.shard->SetString(call.caller.db, key, call.argv[2], kNoExpiry, "set");
    return call.reply->Ok();
  }
  Options o;
  if (!ParseOptions(call.argv, 3, true, &o)) return call.reply->SyntaxError();
  UnixMillis expire_at = kNoExpiry;
  if (o.has_expire()) {
    const std::optional<UnixMillis> at = ExpireTime(call, o.expire, o.seconds, o.absolute);
    if (!at) return;
    expire_at = *at;
  }
  if (o.get || o.nx || o.xx) {
    const Entry* entry = o.get ? FindToRead(call, key) : FindToWrite(call, key);
    if (o.get && !ReplyString(call, entry)) return;
    if ((o.nx && entry != nullptr) || (o.xx && entry == nullptr)) {
      if (!o.get) call.reply->Null();
      return;
    }
  }
  if (o.keepttl) {
    // An expired key that still lies there must not lend its expiry to the new value: Find takes it away.
    FindToWrite(call, key);
    call.shard->SetStringKeepExpiry(call.caller.db, key, call.argv[2], "set");
  } else {
    call.shard->SetString(call.caller.db, key, call.argv[2], expire_at, "set");
  }
  if (!o.get) call.reply->Ok();
}

void RunSetnx(Call& call) {
  const Key key = call.key(1);
  if (FindToWrite(call, key) != nullptr) return call.reply->Integer(0);
  call.shard->SetString(call.caller.db, key, call.argv[2], kNoExpiry, "set");
  call.reply->Integer(1);
}

void RunSetex(Call& call) { SetWithExpiry(call, true); }

void RunPsetex(Call& call) { SetWithExpiry(call, false); }

void RunGetex(Call& call) {
  Options o;
  if (!ParseOptions(call.argv, 2, false, &o)) return call.reply->SyntaxError();
  const Key key = call.key(1);
  const Entry* entry = FindToRead(call, key);
  if (entry == nullptr) return call.reply->Null();
  if (!CheckString(call, *entry)) return;
  UnixMillis at = kNoExpiry;
  if (o.has_expire()) {
    const std::optional<UnixMillis> time = ExpireTime(call, o.expire, o.seconds, o.absolute);
    if (!time) return;
    at = *time;
  }
  IntText scratch;
  call.reply->Bulk(entry->string(&scratch));
  if (o.has_expire() && o.absolute && at <= call.shard->now()) {
    call.shard->Delete(call.caller.db, key, "del", call.config->lazyfree_lazy_expire);
  } else if (o.has_expire()) {
    call.shard->SetExpiry(call.caller.db, key, at);
  } else if (o.persist) {
    call.shard->ClearExpiry(call.caller.db, key);
  }
}

void RunGetdel(Call& call) {
  const Key key = call.key(1);
  const Entry* entry = FindToRead(call, key);
  if (!ReplyString(call, entry) || entry == nullptr) return;
  call.shard->Delete(call.caller.db, key, "del", call.config->lazyfree_lazy_user_del);
}

void RunGetset(Call& call) {
  const Key key = call.key(1);
  if (!ReplyString(call, FindToRead(call, key))) return;
  call.shard->SetString(call.caller.db, key, call.argv[2], kNoExpiry, "set");
}

void RunMset(Call& call) {
  if (call.argv.size() % 2 == 0) return WrongArity(*call.spec, call.reply);
  for (size_t i = 1; i < call.argv.size(); i += 2) {
    call.shard->SetString(call.caller.db, call.key(i), call.argv[i + 1], kNoExpiry, "set");
  }
  call.reply->Ok();
}

void RunMsetnx(Call& call) {
  if (call.argv.size() % 2 == 0) return WrongArity(*call.spec, call.reply);
  for (size_t i = 1; i < call.argv.size(); i += 2) {
    if (FindToWrite(call, call.key(i)) != nullptr) return call.reply->Integer(0);
  }
  for (size_t i = 1; i < call.argv.size(); i += 2) {
    call.shard->SetString(call.caller.db, call.key(i), call.argv[i + 1], kNoExpiry, "set");
  }
  call.reply->Integer(1);
}

}  // namespace skein::node
