// Any words to any command of the string, generic and COMMAND families: each answers with exactly one well-formed
// reply, and the log makes the same data again.
//
// An input is lines; a line's first byte chooses the command, its words are what stands between spaces
// (but see FinishPayload).
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "glog/logging.h"
#include "node/command.h"
#include "node/commands/harness.h"
#include "storage/rdb/crc64.h"
#include "storage/shard_testing.h"

namespace skein::node {
namespace {

// Takes one reply off the front; false if it is none.
bool TakeReply(std::string_view* in, int depth) {
  const size_t end = in->find("\r\n");
  if (depth > 16 || in->empty() || end == std::string_view::npos) return false;
  const char type = (*in)[0];
  const std::string text(in->substr(1, end - 1));
  in->remove_prefix(end + 2);
  if (type == '+' || type == '-' || type == ':' || type == '_' || type == ',' || type == '#') return true;
  const int64_t n = std::strtoll(text.c_str(), nullptr, 10);
  if (type == '$') {
    if (n < 0) return true;
    const auto size = static_cast<size_t>(n);
    if (in->size() < size + 2 || in->substr(size, 2) != "\r\n") return false;
    in->remove_prefix(size + 2);
    return true;
  }
  if (type != '*' && type != '%' && type != '~') return false;
  for (int64_t i = 0; i < (type == '%' ? 2 * n : n); ++i) {
    if (!TakeReply(in, depth + 1)) return false;
  }
  return true;
}

// A word "!bytes" becomes the bytes with the end of a DUMP payload, which chance does not find.
void FinishPayload(std::string* word) {
  if (!word->starts_with('!')) return;
  word->erase(0, 1);
  word->append("\x0a\0", 2);
  const uint64_t crc = storage::RdbCrc64(0, *word);
  word->append(reinterpret_cast<const char*>(&crc), sizeof(crc));
}

std::vector<std::vector<std::string>> AllNames() {
  std::vector<std::vector<std::string>> names;
  for (const CommandSpec* spec : AllCommands()) {
    // WAIT and WAITAOF need a session and its loop.
    if (std::string_view(spec->name).starts_with("wait")) continue;
    names.push_back({spec->name});
    for (const CommandSpec& sub : spec->subcommands) names.push_back({spec->name, sub.name});
  }
  return names;
}

}  // namespace
}  // namespace skein::node

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skein;  // NOLINT: a program of its own
  static const auto* const names = new auto(node::AllNames());
  std::string_view in(reinterpret_cast<const char*>(data), size);
  if (in.size() > 4096) return 0;
  node::Harness h;
  storage::Shard replayed(storage::ShardOptions{}, nullptr);
  h.config.proto_max_bulk_len = 1 << 16;
  h.resp = size % 2 == 0 ? 2 : 3;
  while (!in.empty()) {
    const std::string_view line = in.substr(0, in.find('\n'));
    in.remove_prefix(std::min(in.size(), line.size() + 1));
    if (line.empty()) continue;
    std::vector<std::string> words = (*names)[static_cast<unsigned char>(line[0]) % names->size()];
    for (size_t at = 1; at <= line.size();) {
      const size_t end = std::min(line.find(' ', at), line.size());
      words.emplace_back(line.substr(at, end - at));
      node::FinishPayload(&words.back());
      at = end + 1;
    }
    h.now_ms += static_cast<unsigned char>(line[0]);
    const std::string reply = h.Run(words);
    std::string_view rest = reply;
    CHECK(node::TakeReply(&rest, 0) && rest.empty()) << node::Escape(reply);
    for (const auto& record : h.log(0).records) {
      CHECK(replayed.ApplyRecord(record.db, record.time, record.body).ok()) << node::Escape(record.body);
    }
    h.log(0).records.clear();
  }
  CHECK(storage::PictureOf(replayed) == storage::PictureOf(h.shard(0)));
  return 0;
}
