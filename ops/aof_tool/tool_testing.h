// For tests of the tool: a console that remembers, and data sets on a file system in memory.
#ifndef SKEIN_OPS_AOF_TOOL_TOOL_TESTING_H_
#define SKEIN_OPS_AOF_TOOL_TOOL_TESTING_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "ops/aof_tool/tool.h"
#include "storage/data_set.h"
#include "storage/fault_file.h"
#include "storage/shard.h"
#include "storage/slot.h"

namespace skein::ops {

class TestConsole : public Console {
 public:
  void Out(std::string_view text) override { out += text; }
  void Err(std::string_view text) override { err += text; }
  bool CanAsk() const override { return can_ask; }
  bool Ask(std::string_view question) override {
    asked += question;
    return answer;
  }
  bool ShowsProgress() const override { return shows_progress; }

  std::string out, err, asked;
  bool can_ask = false, answer = false, shows_progress = false;
};

struct Ran {
  int code;
  std::string out, err, asked;
};

// Runs one command line; `answer`: what a person says who can be asked, null if nobody can.
inline Ran RunWords(storage::FileSystem* fs, const std::vector<std::string>& words, const bool* answer = nullptr) {
  TestConsole console;
  console.can_ask = answer != nullptr;
  console.answer = answer != nullptr && *answer;
  const int code = RunTool({fs, &console}, words);
  return {code, console.out, console.err, console.asked};
}

// Options of a data set in "/data" of `fs`.
inline storage::DataSetOptions DataOptions(storage::FileSystem* fs, uint32_t shards) {
  storage::DataSetOptions options;
  options.dir = "/data";
  options.append_only = true;
  options.fsync = storage::AppendFsync::kAlways;
  options.shards = shards;
  options.shards_configured = true;
  options.fs = fs;
  return options;
}

// One command on the shard that has the key, at `now`.
inline void OnKey(storage::DataSet* set, const std::string& key, storage::UnixMillis now,
                  const std::function<void(storage::Shard&, const storage::Key&)>& command) {
  const storage::Key k(key);
  storage::Shard& shard = set->shard(k.slot % set->shard_count());
  shard.Begin(now);
  command(shard, k);
  shard.End();
  if (shard.log() != nullptr) shard.log()->Kick();
}

inline void SetKey(storage::DataSet* set, const std::string& key, const std::string& value, storage::UnixMillis now) {
  OnKey(set, key, now,
        [&](storage::Shard& shard, const storage::Key& k) { shard.SetString(0, k, value, storage::kNoExpiry, "set"); });
}

// A node that opens the folder, does this and that, and ends cleanly.
inline void WithDataSet(storage::FileSystem* fs, uint32_t shards, const std::function<void(storage::DataSet&)>& work) {
  auto set = storage::DataSet::Open(DataOptions(fs, shards));
  ASSERT_TRUE(set.ok()) << set.status();
  work(**set);
  ASSERT_TRUE((*set)->Close().ok());
}

}  // namespace skein::ops

#endif  // SKEIN_OPS_AOF_TOOL_TOOL_TESTING_H_
