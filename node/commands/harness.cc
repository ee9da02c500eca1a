#include "node/commands/harness.h"

#include <cstdlib>
#include <optional>

#include "glog/logging.h"
#include "node/command.h"
#include "storage/shard_testing.h"

namespace skein::node {

std::vector<std::string> SplitWords(std::string_view line) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  std::vector<std::string> words;
  size_t i = 0;
  while (i < line.size()) {
    if (line[i] == ' ') {
      ++i;
      continue;
    }
    std::string word;
    if (line[i] != '"') {
      const size_t end = std::min(line.find(' ', i), line.size());
      words.emplace_back(line.substr(i, end - i));
      i = end;
      continue;
    }
    for (++i; line.at(i) != '"'; ++i) {
      if (line[i] != '\\') {
        word += line[i];
      } else if (line.at(++i) == 'x') {
        word += static_cast<char>(digit(line.at(i + 1)) * 16 + digit(line.at(i + 2)));
        i += 2;
      } else {
        word += line[i] == 'n' ? '\n' : line[i] == 'r' ? '\r' : line[i] == 't' ? '\t' : line[i];
      }
    }
    ++i;
    words.push_back(std::move(word));
  }
  return words;
}

std::string Escape(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    if (c == '\r') {
      out += "\\r";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\\') {
      out += "\\\\";
    } else if (c >= 32 && c < 127) {
      out += c;
    } else {
      static constexpr char kHex[] = "0123456789abcdef";
      const auto b = static_cast<unsigned char>(c);
      out += {'\\', 'x', kHex[b >> 4], kHex[b & 15]};
    }
  }
  return out;
}

class Harness::FakeNode : public Node {
 public:
  explicit FakeNode(uint32_t shards) : shards_(shards) {}
  uint32_t shard_count() const override { return shards_; }
  uint32_t loop_count() const override { return 1; }
  bus::Bus* bus() const override { return nullptr; }
  // What commands that run here do not ask for.
  storage::DataSet& data() const override { std::abort(); }
  int64_t start_time_ms() const override { return 0; }
  const std::string& run_id() const override { return run_id_; }
  uint64_t connected_clients() const override { return 1; }
  absl::Status RequestShutdown(ShutdownRequest) override { std::abort(); }
  absl::Status SetConfig(const std::vector<std::pair<std::string, std::string>>&) override { std::abort(); }
  ConfigPtr config() const override { std::abort(); }
  bus::TopologyPtr topology() const override { return nullptr; }
  void ResetStats() override {}
  DeferredReply Defer(Call&) override { std::abort(); }
  void GatherLoops(Call&, std::function<std::string(Loop&)>,
                   std::function<void(ReplyWriter&, const std::vector<std::string>&)>) override {
    std::abort();
  }
  void CollectShards(Loop&, std::function<std::string(storage::Shard&)>,
                     std::function<void(std::vector<std::string>)>) override {
    std::abort();
  }
  void GatherShards(Call&, std::function<std::string(storage::Shard&)>,
                    std::function<void(ReplyWriter&, const std::vector<std::string>&)>) override {
    std::abort();
  }

 private:
  uint32_t shards_;
  std::string run_id_;
};

class Harness::EventLog : public storage::MutationObserver {
 public:
  void OnChange(const storage::Change& change) override {
    if (!text.empty()) text += ", ";
    text.append(change.event);
    if (!change.key.empty()) text.append(" ").append(change.key);
    if (change.db != 0) text += " @" + std::to_string(change.db);
  }
  std::string text;
};

struct Harness::Sink {
  explicit Sink(int resp) : reply(&buffer, resp) {}
  Buffer buffer;
  ReplyWriter reply;
};

Harness::Harness(uint32_t shards, bool cluster)
    : events_(std::make_unique<EventLog>()), node_(std::make_unique<FakeNode>(shards)) {
  CHECK(cluster || shards == 1);
  config.cluster_enabled = cluster;
  for (uint32_t i = 0; i < shards; ++i) {
    logs_.push_back(std::make_unique<storage::FakeLog>());
    shards_.push_back(
        std::make_unique<storage::Shard>(storage::ShardOptions{.index = i, .count = shards}, logs_.back().get()));
    shards_.back()->AddObserver(events_.get());
  }
}

Harness::~Harness() = default;

std::string Harness::TakeEvents() { return std::exchange(events_->text, {}); }

std::string Harness::TakeLog() {
  std::string text;
  for (const auto& log : logs_) {
    for (const auto& record : log->records) text += (text.empty() ? "" : " | ") + Escape(record.body);
    log->records.clear();
  }
  return text;
}

std::string Harness::RunOn(uint32_t shard, Call call) {
  Sink sink(resp);
  call.reply = &sink.reply;
  call.shard = shards_[shard].get();
  call.shard->Begin(now_ms);
  call.spec->run(call);
  call.shard->End();
  return std::string(sink.buffer.view());
}

std::string Harness::Run(const std::vector<std::string>& words) {
  const std::vector<std::string_view> views(words.begin(), words.end());
  const Args argv(views);
  Sink sink(resp);
  const CommandSpec* spec = FindCommand(argv);
  if (spec == nullptr) {
    UnknownCommand(argv, &sink.reply);
    return std::string(sink.buffer.view());
  }
  if (!ArityOk(*spec, argv.size())) {
    WrongArity(*spec, &sink.reply);
    return std::string(sink.buffer.view());
  }
  if (spec->run == nullptr) {
    UnknownCommand(argv, &sink.reply);
    return std::string(sink.buffer.view());
  }
  Call call{.spec = spec, .argv = argv, .reply = &sink.reply, .caller = {}};
  call.caller.db = db;
  call.caller.resp = static_cast<uint8_t>(resp);
  call.config = &config;
  call.node = node_.get();
  if (spec->scope == Scope::kAllShards) {
    std::vector<std::string> partials;
    for (uint32_t i = 0; i < shards_.size(); ++i) partials.push_back(RunOn(i, call));
    const std::vector<std::string_view> partial_views(partials.begin(), partials.end());
    spec->merge(call, partial_views);
    return std::string(sink.buffer.view());
  }
  if (spec->scope == Scope::kShard) {
    std::optional<uint16_t> slot;
    std::vector<uint32_t> positions;
    std::optional<storage::Key> first;
    if (spec->route != nullptr) {
      slot = spec->route(argv);
    } else {
      CHECK(FindKeys(*spec, argv, &positions) && !positions.empty());
      first.emplace(argv[positions[0]]);
      slot = first->slot;
      call.first_key = &*first;
    }
    if (slot) return RunOn(static_cast<uint32_t>(*slot % shards_.size()), call);
  }
  spec->run(call);
  return std::string(sink.buffer.view());
}

}  // namespace skein::node
