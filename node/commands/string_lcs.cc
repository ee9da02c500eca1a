// LCS: the longest common subsequence of two strings.
//
// The table of lengths is filled row by row and walked back from its far corner. On a tie the walk goes left, in the
// second string, as Redis does: the choice is visible in the ranges of IDX.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "node/commands/lookup.h"
#include "node/commands/parse.h"
#include "node/commands/string.h"
#include "node/config/config.h"

namespace skein::node {
namespace {

using storage::Entry;
using storage::IntText;

struct Options {
  bool length = false, ranges = false, with_match_length = false;
  int64_t min_match_length = 0;
};

// Bytes [a_first, a_last] of the one string that equal [b_first, b_last] of the other.
struct Match {
  uint32_t a_first, a_last, b_first, b_last;
};

// The lengths of the longest common subsequences of all prefixes.
class Lengths {
 public:
  // Null memory if there is none to be had.
  Lengths(std::string_view a, std::string_view b)
      : stride_(b.size() + 1),
        cells_(static_cast<uint32_t*>(std::malloc(sizeof(uint32_t) * (a.size() + 1) * stride_)), &std::free) {
    if (cells_ == nullptr) return;
    for (size_t j = 0; j <= b.size(); ++j) cells_.get()[j] = 0;
    for (size_t i = 1; i <= a.size(); ++i) {
      const uint32_t* above = cells_.get() + (i - 1) * stride_;
      uint32_t* row = cells_.get() + i * stride_;
      row[0] = 0;
      for (size_t j = 1; j <= b.size(); ++j) {
        row[j] = a[i - 1] == b[j - 1] ? above[j - 1] + 1 : std::max(above[j], row[j - 1]);
      }
    }
  }
  explicit operator bool() const { return cells_ != nullptr; }
  uint32_t at(size_t i, size_t j) const { return cells_.get()[i * stride_ + j]; }

 private:
  size_t stride_;
  std::unique_ptr<uint32_t, decltype(&std::free)> cells_;
};

// Walks back over the table: the subsequence into `common` (as long as the table says), its runs into `matches`, the
// last one first.
void WalkBack(const Lengths& lengths, std::string_view a, std::string_view b, std::string* common,
              std::vector<Match>* matches) {
  size_t i = a.size(), j = b.size(), left = common->size();
  bool open = false;
  while (i > 0 && j > 0) {
    if (a[i - 1] != b[j - 1]) {
      open = false;
      if (lengths.at(i - 1, j) > lengths.at(i, j - 1)) {
        --i;
      } else {
        --j;
      }
      continue;
    }
    --i;
    --j;
    (*common)[--left] = a[i];
    const auto at = static_cast<uint32_t>(i), bt = static_cast<uint32_t>(j);
    if (open) {
      matches->back().a_first = at;
      matches->back().b_first = bt;
    } else {
      matches->push_back({at, at, bt, bt});
      open = true;
    }
  }
}

void ReplyMatches(Call& call, const Options& o, const std::vector<Match>& matches, uint32_t length) {
  size_t long_enough = 0;
  const auto shown = [&o](const Match& m) { return int64_t{m.a_last} - m.a_first + 1 >= o.min_match_length; };
  for (const Match& m : matches) long_enough += shown(m) ? 1 : 0;
  ReplyWriter& reply = *call.reply;
  reply.Map(2);
  reply.Bulk("matches");
  reply.Array(long_enough);
  for (const Match& m : matches) {
    if (!shown(m)) continue;
    reply.Array(o.with_match_length ? 3 : 2);
    reply.Array(2);
    reply.Integer(m.a_first);
    reply.Integer(m.a_last);
    reply.Array(2);
    reply.Integer(m.b_first);
    reply.Integer(m.b_last);
    if (o.with_match_length) reply.Integer(int64_t{m.a_last} - m.a_first + 1);
  }
  reply.Bulk("len");
  reply.Integer(length);
}

// False: the error has been written.
bool ParseOptions(Call& call, Options* o) {
  for (size_t i = 3; i < call.argv.size(); ++i) {
    const std::string_view word = call.argv[i];
    if (IsWord(word, "idx")) {
      o->ranges = true;
    } else if (IsWord(word, "len")) {
      o->length = true;
    } else if (IsWord(word, "withmatchlen")) {
      o->with_match_length = true;
    } else if (IsWord(word, "minmatchlen") && i + 1 < call.argv.size()) {
      if (!ParseInt64(call.argv[++i], &o->min_match_length)) {
        call.reply->NotAnInteger();
        return false;
      }
    } else {
      call.reply->SyntaxError();
      return false;
    }
  }
  if (o->length && o->ranges) {
    call.reply->Error("ERR If you want both the length and indexes, please just use IDX.");
    return false;
  }
  return true;
}

}  // namespace

void RunLcs(Call& call) {
  const Entry* first = FindToRead(call, call.key(1));
  // The second look-up deletes an expired key at most its own, so the first entry stays where it is.
  const Entry* second = FindToRead(call, call.key(2));
  for (const Entry* entry : {first, second}) {
    if (entry != nullptr && entry->type() != storage::ValueType::kString) {
      return call.reply->Error("ERR The specified keys must contain string values");
    }
  }
  Options o;
  if (!ParseOptions(call, &o)) return;
  IntText first_scratch, second_scratch;
  const std::string_view a = first == nullptr ? std::string_view() : first->string(&first_scratch);
  const std::string_view b = second == nullptr ? std::string_view() : second->string(&second_scratch);
  if (a.size() >= UINT32_MAX - 1 || b.size() >= UINT32_MAX - 1) return call.reply->Error("ERR String too long for LCS");
  if (uint64_t{a.size() + 1} * (b.size() + 1) > call.config->proto_max_bulk_len / sizeof(uint32_t)) {
    return call.reply->Error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
  }
  const Lengths lengths(a, b);
  if (!lengths) {
    return call.reply->Error("ERR Insufficient memory, failed allocating transient memory for LCS");
  }
  const uint32_t length = lengths.at(a.size(), b.size());
  if (o.length) return call.reply->Integer(length);
  std::string common(length, '\0');
  std::vector<Match> matches;
  WalkBack(lengths, a, b, &common, &matches);
  if (o.ranges) return ReplyMatches(call, o, matches, length);
  call.reply->Bulk(common);
}

}  // namespace skein::node
