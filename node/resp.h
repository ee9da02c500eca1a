// Parses RESP requests (multibulk and inline) in place.
// Source: the RESP specification; limits and error texts as redis-server 7 gives them (networking.c).
// Pure: no I/O, no clock.
#ifndef SKEIN_NODE_RESP_H_
#define SKEIN_NODE_RESP_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace skein::node {

struct RespLimits {
  uint64_t max_bulk = 512ull << 20;  // proto-max-bulk-len
  bool authenticated = true;         // else: at most 10 arguments of at most 16384 bytes
};

// Longest line: an inline request, the count of a multibulk, the length of a bulk.
inline constexpr size_t kMaxLine = 64 * 1024;
inline constexpr int64_t kMaxUnauthenticatedArgs = 10;
inline constexpr int64_t kMaxUnauthenticatedBulk = 16384;

// A command that has not arrived whole. Positions count from the command's first byte, so the bytes may move between
// calls.
struct PartialCommand {
  struct Range {
    size_t offset, size;
  };
  size_t pos = 0;         // everything before has been parsed
  int64_t args_left = 0;  // 0: the first line has not been seen whole
  int64_t bulk_len = -1;  // of the argument being read; -1: its length is not known yet
  std::vector<Range> args;

  // Bytes the command needs at least, from its first byte on.
  size_t needed() const { return bulk_len < 0 ? pos + 1 : pos + static_cast<size_t>(bulk_len) + 2; }
};

enum class ParseResult : uint8_t {
  kCommand,     // `args` holds a command (empty: an empty request, to be skipped)
  kIncomplete,  // more bytes are needed; `partial` says how far it got
  kError,       // `error` holds the text; the connection is to be closed after it was sent
};

class RequestParser {
 public:
  // Parses one request at the start of `in`. kCommand: appends the arguments to `args` as views into `in` (or into this
  // parser, for an inline request with quotes: valid until ReleaseUnquoted) and sets `consumed`.
  // `partial` is what an earlier call with a prefix of the same bytes left (or a fresh one); it is updated on
  // kIncomplete and is meaningless after any other result.
  ParseResult Parse(std::string_view in, const RespLimits& limits, PartialCommand* partial,
                    std::vector<std::string_view>* args, size_t* consumed);
  // As Parse with a fresh partial command, without touching one unless the command is incomplete: the fast path.
  ParseResult ParseFresh(std::string_view in, const RespLimits& limits, PartialCommand* partial,
                         std::vector<std::string_view>* args, size_t* consumed);
  // "Protocol error: …", after kError.
  const std::string& error() const { return error_; }
  void ReleaseUnquoted() { unquoted_.clear(); }

 private:
  ParseResult ParseInline(std::string_view in, std::vector<std::string_view>* args, size_t* consumed);
  ParseResult Fail(std::string_view text);

  std::string error_;
  std::deque<std::string> unquoted_;
};

// Reads a decimal as Redis' string2ll does: no spaces, no plus sign, no leading zeros.
bool ParseInteger(std::string_view text, int64_t* value);

// Splits a line as sdssplitargs does. False: unbalanced quotes. Arguments without quotes are views into `line`; others
// are put into `storage`.
bool SplitInline(std::string_view line, std::deque<std::string>* storage, std::vector<std::string_view>* args);

}  // namespace skein::node

#endif  // SKEIN_NODE_RESP_H_
