// Strings as numbers: INCR and its relatives, INCRBYFLOAT.
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "node/commands/lookup.h"
#include "node/commands/parse.h"
#include "node/commands/string.h"

namespace skein::node {
namespace {

using storage::Entry;
using storage::IntText;
using storage::Key;

void IncrementBy(Call& call, int64_t by) {
  const Key key = call.key(1);
  const Entry* entry = FindToWrite(call, key);
  int64_t value = 0;
  if (entry != nullptr) {
    if (!CheckString(call, *entry)) return;
    IntText scratch;
    if (!entry->integer(&value) && !ParseInt64(entry->string(&scratch), &value)) return call.reply->NotAnInteger();
  }
  if (__builtin_add_overflow(value, by, &value)) {
    return call.reply->Error("ERR increment or decrement would overflow");
  }
  call.shard->SetInteger(call.caller.db, key, value, "incrby");
  call.reply->Integer(value);
}

}  // namespace

void RunIncr(Call& call) { IncrementBy(call, 1); }

void RunDecr(Call& call) { IncrementBy(call, -1); }

void RunIncrby(Call& call) {
  int64_t by = 0;
  if (!ParseInt64(call.argv[2], &by)) return call.reply->NotAnInteger();
  IncrementBy(call, by);
}

void RunDecrby(Call& call) {
  int64_t by = 0;
  if (!ParseInt64(call.argv[2], &by)) return call.reply->NotAnInteger();
  if (by == std::numeric_limits<int64_t>::min()) return call.reply->Error("ERR decrement would overflow");
  IncrementBy(call, -by);
}

void RunIncrbyfloat(Call& call) {
  const Key key = call.key(1);
  const Entry* entry = FindToWrite(call, key);
  long double value = 0, by = 0;
  if (entry != nullptr) {
    if (!CheckString(call, *entry)) return;
    IntText scratch;
    if (!ParseLongDouble(entry->string(&scratch), &value)) return call.reply->Error("ERR value is not a valid float");
  }
  if (!ParseLongDouble(call.argv[2], &by)) return call.reply->Error("ERR value is not a valid float");
  value += by;
  if (std::isnan(value) || std::isinf(value)) {
    return call.reply->Error("ERR increment would produce NaN or Infinity");
  }
  const std::string text = FormatLongDouble(value);
  call.shard->SetStringKeepExpiry(call.caller.db, key, text, "incrbyfloat");
  call.reply->Bulk(text);
}

}  // namespace skein::node
