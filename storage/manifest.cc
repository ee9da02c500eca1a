#include "storage/manifest.h"

#include <algorithm>
#include <charconv>

namespace skein::storage {
namespace {

constexpr std::string_view kMagic = "skein-manifest";
constexpr std::string_view kChosenNames[] = {"configured", "defaulted", "inherited"};

void AppendLine(std::string* out, std::string_view word, std::initializer_list<uint64_t> numbers) {
  out->append(word);
  for (const uint64_t n : numbers) out->append(" ").append(std::to_string(n));
  out->append("\n");
}

std::string Hex8(uint32_t value) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (int shift = 28; shift >= 0; shift -= 4) hex.push_back(kDigits[(value >> shift) & 15]);
  return hex;
}

// Takes the manifest apart, line by line and word by word. The first thing that is wrong stays in error().
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  // Goes to the next line, which must have `count` words and start with `first`.
  bool Line(std::string_view first, size_t count) {
    if (!error_.empty() || !Split()) return false;
    if (words_[0] != first || words_.size() != count) return Fail("expected \"" + std::string(first) + "\"");
    return true;
  }
  // The first word of the next line, without going there; empty at the end.
  std::string_view Peek() const {
    const std::string_view line = text_.substr(0, text_.find('\n'));
    return line.substr(0, line.find(' '));
  }
  std::string_view Word(size_t i) const { return words_[i]; }
  template <typename T>
  bool Number(size_t i, T* value) {
    const std::string_view word = words_[i];
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), *value);
    if (error != std::errc() || end != word.data() + word.size() || (word[0] == '0' && word.size() > 1)) {
      return Fail("not a number: \"" + std::string(word) + "\"");
    }
    return true;
  }
  bool Fail(std::string why) {
    if (error_.empty()) error_ = "line " + std::to_string(line_) + ": " + std::move(why);
    return false;
  }
  bool AtEnd() const { return text_.empty(); }
  const std::string& error() const { return error_; }

 private:
  bool Split() {
    ++line_;
    const size_t end = text_.find('\n');
    if (end == std::string_view::npos) return Fail("the file ends here");
    std::string_view line = text_.substr(0, end);
    text_.remove_prefix(end + 1);
    words_.clear();
    while (true) {
      const size_t space = line.find(' ');
      words_.push_back(line.substr(0, space));
      if (words_.back().empty()) return Fail("malformed");
      if (space == std::string_view::npos) return true;
      line.remove_prefix(space + 1);
    }
  }

  std::string_view text_;
  std::vector<std::string_view> words_;
  size_t line_ = 0;
  std::string error_;
};

bool ParseShard(Parser* p, uint32_t id, Manifest::Shard* shard) {
  uint32_t found;
  if (!p->Line("shard", 2) || !p->Number(1, &found)) return false;
  if (found != id) {
    return p->Fail("shard ids are not 0..N-1: found " + std::to_string(found) + " in the place of " +
                   std::to_string(id));
  }
  if (p->Peek() == "base") {
    Manifest::FileRef base;
    if (!p->Line("base", 3) || !p->Number(1, &base.sequence) || !p->Number(2, &base.lsn)) return false;
    shard->base = base;
  }
  do {
    Manifest::FileRef incr;
    if (!p->Line("incr", 3) || !p->Number(1, &incr.sequence) || !p->Number(2, &incr.lsn)) return false;
    if (!shard->incrs.empty() &&
        (incr.sequence <= shard->incrs.back().sequence || incr.lsn < shard->incrs.back().lsn)) {
      return p->Fail("incr files out of order");
    }
    shard->incrs.push_back(incr);
    if (shard->incrs.size() > kMaxIncrFiles) return p->Fail("too many incr files");
  } while (p->Peek() == "incr");
  if (!p->Line("durable", 2) || !p->Number(1, &shard->durable)) return false;
  while (p->Peek() == "reign") {
    Reign reign;
    if (!p->Line("reign", 4) || !p->Number(2, &reign.epoch) || !p->Number(3, &reign.first_lsn)) return false;
    const auto reign_id = ParseReignId(p->Word(1));
    if (!reign_id.has_value()) return p->Fail("not a reign id");
    reign.id = *reign_id;
    if (!shard->history.empty() && reign.first_lsn < shard->history.back().first_lsn) {
      return p->Fail("reigns out of order");
    }
    shard->history.push_back(reign);
    if (shard->history.size() > kMaxReigns) return p->Fail("too many reigns");
  }
  return true;
}

bool ParseLines(Parser* p, Manifest* manifest) {
  uint32_t version;
  uint32_t count;
  if (!p->Line(kMagic, 2) || !p->Number(1, &version)) return false;
  if (!p->Line("sequence", 2) || !p->Number(1, &manifest->sequence)) return false;
  if (!p->Line("shards", 3) || !p->Number(1, &count)) return false;
  const auto* chosen = std::find(std::begin(kChosenNames), std::end(kChosenNames), p->Word(2));
  if (chosen == std::end(kChosenNames)) return p->Fail("not a way to choose: \"" + std::string(p->Word(2)) + "\"");
  manifest->chosen = static_cast<Manifest::Chosen>(chosen - std::begin(kChosenNames));
  if (count == 0 || count > kMaxShards) return p->Fail("number of shards out of range");
  if (!p->Line("databases", 2) || !p->Number(1, &manifest->databases)) return false;
  if (manifest->databases == 0 || manifest->databases > kMaxDatabases)
    return p->Fail("number of databases out of range");
  if (p->Peek() == "off") {
    if (!p->Line("off", 2) || !p->Number(1, &manifest->off)) return false;
    if (manifest->off == 0) return p->Fail("not a time");
  }
  for (uint32_t id = 0; id < count; ++id) {
    if (!ParseShard(p, id, &manifest->shards.emplace_back())) return false;
  }
  if (p->Peek() == "shard") return p->Fail("shard ids are not 0..N-1: more shards than the count says");
  return p->AtEnd() || p->Fail("more than expected");
}

}  // namespace

std::string EncodeManifest(const Manifest& manifest) {
  std::string text;
  AppendLine(&text, kMagic, {kManifestVersion});
  AppendLine(&text, "sequence", {manifest.sequence});
  text.append("shards ").append(std::to_string(manifest.shards.size())).append(" ");
  text.append(kChosenNames[static_cast<size_t>(manifest.chosen)]).append("\n");
  AppendLine(&text, "databases", {manifest.databases});
  if (manifest.off != 0) AppendLine(&text, "off", {manifest.off});
  for (size_t id = 0; id < manifest.shards.size(); ++id) {
    const Manifest::Shard& shard = manifest.shards[id];
    AppendLine(&text, "shard", {id});
    if (shard.base.has_value()) AppendLine(&text, "base", {shard.base->sequence, shard.base->lsn});
    for (const Manifest::FileRef& incr : shard.incrs) AppendLine(&text, "incr", {incr.sequence, incr.lsn});
    AppendLine(&text, "durable", {shard.durable});
    for (const Reign& reign : shard.history)
      AppendLine(&text, "reign " + reign.IdHex(), {reign.epoch, reign.first_lsn});
  }
  const uint32_t crc = Crc32c(text);
  return text.append("checksum ").append(Hex8(crc)).append("\n");
}

absl::StatusOr<Manifest> ParseManifest(std::string_view text) {
  constexpr size_t kChecksumLine = sizeof("checksum 01234567\n") - 1;
  if (text.size() < kChecksumLine) return absl::DataLossError("the file is incomplete");
  const std::string_view lines = text.substr(0, text.size() - kChecksumLine);
  if (text.substr(lines.size()) != "checksum " + Hex8(Crc32c(lines)) + "\n") {
    return absl::DataLossError("its checksum does not match");
  }
  // Only a whole file is asked for its version, so that damage is never taken for the future.
  Parser head(lines);
  uint32_t version = 0;
  if (head.Line(kMagic, 2) && head.Number(1, &version) && version != kManifestVersion) {
    return absl::UnimplementedError("written by a newer version (format " + std::to_string(version) + ")");
  }
  Parser parser(lines);
  Manifest manifest;
  if (!ParseLines(&parser, &manifest)) return absl::DataLossError(parser.error());
  return manifest;
}

std::string ShardDirName(uint32_t shard) { return "shard-" + std::to_string(shard); }
std::string IncrName(uint32_t shard, uint64_t sequence) {
  return ShardDirName(shard) + "/incr." + std::to_string(sequence) + ".aof";
}
std::string BaseName(uint32_t shard, uint64_t sequence) {
  return ShardDirName(shard) + "/base." + std::to_string(sequence) + ".rdb";
}

}  // namespace skein::storage
