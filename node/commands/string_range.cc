// Commands that read strings, and those that change a part of one.
#include <algorithm>
#include <cstdint>

#include "node/commands/lookup.h"
#include "node/commands/parse.h"
#include "node/commands/string.h"
#include "node/config/config.h"

namespace skein::node {
namespace {

using storage::Entry;
using storage::IntText;
using storage::Key;

// Whether a string of `size` plus `more` bytes is within proto-max-bulk-len; if not, writes the error.
bool CheckSize(Call& call, uint64_t size, uint64_t more) {
  uint64_t total = 0;
  if (!__builtin_add_overflow(size, more, &total) && total <= call.config->proto_max_bulk_len) return true;
  call.reply->Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
  return false;
}

}  // namespace

void RunGet(Call& call) {
  const Entry* entry = FindToRead(call, call.key(1));
  if (entry == nullptr) return call.reply->Null();
  if (!CheckString(call, *entry)) return;
  IntText scratch;
  call.reply->Bulk(entry->string(&scratch));
}

void RunMget(Call& call) {
  call.reply->Array(call.argv.size() - 1);
  for (size_t i = 1; i < call.argv.size(); ++i) {
    const Entry* entry = FindToRead(call, call.key(i));
    if (entry == nullptr || entry->type() != storage::ValueType::kString) {
      call.reply->Null();
    } else {
      IntText scratch;
      call.reply->Bulk(entry->string(&scratch));
    }
  }
}

void RunStrlen(Call& call) {
  const Entry* entry = FindToRead(call, call.key(1));
  if (entry == nullptr) return call.reply->Integer(0);
  if (!CheckString(call, *entry)) return;
  call.reply->Integer(static_cast<int64_t>(entry->string_size()));
}

void RunAppend(Call& call) {
  const Key key = call.key(1);
  const Entry* entry = FindToWrite(call, key);
  if (entry != nullptr) {
    if (!CheckString(call, *entry)) return;
    if (!CheckSize(call, entry->string_size(), call.argv[2].size())) return;
  }
  call.reply->Integer(static_cast<int64_t>(call.shard->AppendString(call.caller.db, key, call.argv[2])));
}

void RunSetrange(Call& call) {
  int64_t offset = 0;
  if (!ParseInt64(call.argv[2], &offset)) return call.reply->NotAnInteger();
  if (offset < 0) return call.reply->Error("ERR offset is out of range");
  const std::string_view bytes = call.argv[3];
  const Key key = call.key(1);
  const Entry* entry = FindToWrite(call, key);
  if (entry != nullptr && !CheckString(call, *entry)) return;
  if (bytes.empty()) {  // changes nothing, and makes no key
    return call.reply->Integer(entry == nullptr ? 0 : static_cast<int64_t>(entry->string_size()));
  }
  if (!CheckSize(call, static_cast<uint64_t>(offset), bytes.size())) return;
  call.reply->Integer(
      static_cast<int64_t>(call.shard->SetRange(call.caller.db, key, static_cast<size_t>(offset), bytes)));
}

void RunGetrange(Call& call) {
  int64_t start = 0, end = 0;
  if (!ParseInt64(call.argv[2], &start) || !ParseInt64(call.argv[3], &end)) return call.reply->NotAnInteger();
  const Entry* entry = FindToRead(call, call.key(1));
  if (entry == nullptr) return call.reply->Bulk({});
  if (!CheckString(call, *entry)) return;
  IntText scratch;
  const std::string_view value = entry->string(&scratch);
  const int64_t size = static_cast<int64_t>(value.size());
  if (start < 0 && end < 0 && start > end) return call.reply->Bulk({});
  if (start < 0) start = std::max<int64_t>(size + start, 0);
  if (end < 0) end = std::max<int64_t>(size + end, 0);
  end = std::min(end, size - 1);
  if (start > end) return call.reply->Bulk({});
  call.reply->Bulk(value.substr(static_cast<size_t>(start), static_cast<size_t>(end - start + 1)));
}

}  // namespace skein::node
