#include "node/commands/import_command.h"

#include <optional>
#include <string>

#include "node/buffer.h"
#include "node/command.h"
#include "node/reply.h"
#include "node/util/words.h"
#include "storage/wall_clock.h"

namespace skein::node {
namespace {

// What a command that is not in the table is about, for words that help.
struct Foreign {
  std::string_view prefix;
  std::string_view what;
};
constexpr Foreign kForeign[] = {
    {"lpush", "a list"},
    {"rpush", "a list"},
    {"lset", "a list"},
    {"linsert", "a list"},
    {"lpop", "a list"},
    {"rpop", "a list"},
    {"lrem", "a list"},
    {"ltrim", "a list"},
    {"lmove", "a list"},
    {"rpoplpush", "a list"},
    {"sadd", "a set"},
    {"srem", "a set"},
    {"spop", "a set"},
    {"smove", "a set"},
    {"sinter", "a set"},
    {"sunion", "a set"},
    {"sdiff", "a set"},
    {"hset", "a hash"},
    {"hmset", "a hash"},
    {"hdel", "a hash"},
    {"hincrby", "a hash"},
    {"zadd", "a sorted set"},
    {"zrem", "a sorted set"},
    {"zincrby", "a sorted set"},
    {"zpop", "a sorted set"},
    {"z", "a sorted set"},
    {"x", "a stream"},
    {"geo", "a sorted set"},
    {"pf", "a HyperLogLog"},
    {"setbit", "a bitmap"},
    {"bit", "a bitmap"},
    {"eval", "a script"},
    {"fcall", "a script"},
    {"script", "a script"},
    {"function", "a function library"},
};

absl::Status Unknown(std::string_view name) {
  std::string lower;
  for (const char c : name.substr(0, 64)) lower.push_back(LowerAscii(c));
  for (const Foreign& foreign : kForeign) {
    if (lower.starts_with(foreign.prefix)) {
      return absl::UnimplementedError("it is about " + std::string(foreign.what) +
                                      ", which this version does not hold");
    }
  }
  return absl::UnimplementedError("this version does not know it");
}

// Whether a time in the arguments counts from the moment at which the command runs.
bool HasRelativeTime(const CommandSpec& spec, Args argv) {
  const std::string_view name = spec.name;
  if (name == "setex" || name == "psetex" || name == "expire" || name == "pexpire") return true;
  if (name != "set" && name != "getex") return false;
  for (size_t i = 2; i < argv.size(); ++i) {
    if (IsWord(argv[i], "ex") || IsWord(argv[i], "px")) return true;
  }
  return false;
}

// The error of a reply; empty if it is none.
std::string ErrorOf(std::string_view reply) {
  if (!reply.starts_with('-')) return "";
  const size_t end = reply.find("\r\n");
  return std::string(reply.substr(1, end == std::string_view::npos ? end : end - 1));
}

class Runner {
 public:
  Runner(const Config& config, uint32_t db) : config_(config), db_(db) {}

  absl::Status Run(const CommandSpec& spec, storage::Shard* shard, Args argv, const storage::Key* first_key) {
    buffer_.Clear();
    ReplyWriter reply(&buffer_, 2);
    Call call{.spec = &spec, .argv = argv, .reply = &reply, .caller = {}};
    call.caller.db = db_;
    call.config = &config_;
    call.shard = shard;
    call.first_key = first_key;
    // At the beginning of time nothing has expired yet.
    shard->Begin(HasRelativeTime(spec, argv) ? storage::WallClock() : 0);
    spec.run(call);
    shard->End();
    const std::string error = ErrorOf(buffer_.view());
    return error.empty() ? absl::OkStatus() : absl::InvalidArgumentError("it answers \"" + error + "\"");
  }

 private:
  const Config& config_;
  const uint32_t db_;
  Buffer buffer_;
};

// A command on keys of several shards, one key at a time.
absl::Status RunSplit(Runner& runner, const CommandSpec& spec, const std::vector<storage::Shard*>& shards, Args argv) {
  const std::string_view name = spec.name;
  const bool pairs = name == "mset" || name == "msetnx";
  if (!pairs && name != "del" && name != "unlink") {
    return absl::UnimplementedError("its keys belong to several shards: load the file with storage-shards 1");
  }
  static constexpr std::string_view kOne[] = {"SET", "DEL"};
  const size_t step = pairs ? 2 : 1;
  if (pairs && argv.size() % 2 != 1) return absl::InvalidArgumentError("its arguments are wrong");
  for (size_t i = 1; i < argv.size(); i += step) {
    std::vector<std::string_view> words = {kOne[pairs ? 0 : 1], argv[i]};
    if (pairs) words.push_back(argv[i + 1]);
    const CommandSpec* one = FindCommand(words);
    const storage::Key key(words[1]);
    storage::Shard* shard = shards[key.slot % shards.size()];
    if (absl::Status status = runner.Run(*one, shard, words, &key); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunImportedCommand(const Config& config, const std::vector<storage::Shard*>& shards, uint32_t db,
                                const std::vector<std::string_view>& argv) {
  const CommandSpec* spec = FindCommand(argv);
  if (spec == nullptr || spec->run == nullptr) return Unknown(argv[0]);
  if ((spec->flags & kFlagWrite) == 0) return absl::UnimplementedError("it is not a command that changes data");
  if (!ArityOk(*spec, argv.size())) return absl::InvalidArgumentError("it has a wrong number of arguments");
  Runner runner(config, db);
  if (spec->scope == Scope::kAllShards) {
    for (storage::Shard* shard : shards) {
      if (absl::Status status = runner.Run(*spec, shard, argv, nullptr); !status.ok()) return status;
    }
    return absl::OkStatus();
  }
  thread_local std::vector<uint32_t> positions;
  if (spec->scope != Scope::kShard || spec->route != nullptr) {
    return absl::UnimplementedError("it is not a command on keys");
  }
  positions.clear();
  if (!FindKeys(*spec, argv, &positions) || positions.empty()) {
    return absl::InvalidArgumentError("its arguments are wrong");
  }
  const storage::Key first(argv[positions[0]]);
  const size_t shard = first.slot % shards.size();
  for (const uint32_t position : positions) {
    if (shards.size() > 1 && storage::KeySlot(argv[position]) % shards.size() != shard) {
      return RunSplit(runner, *spec, shards, argv);
    }
  }
  return runner.Run(*spec, shards[shard], argv, &first);
}

}  // namespace skein::node
