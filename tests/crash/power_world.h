// A whole data set under load, on a disk that loses power: several shards, threads as their loops, log writers,
// rewrites. The power is cut before one operation on the disk; what may be left of it is opened and compared.
//
// What must be there is what was durable when the power went; replies under `always` (and WAITAOF) wait for exactly
// that. What is there beyond it must be the next records of that shard, whole ones, and nothing else.
#ifndef SKEIN_TESTS_CRASH_POWER_WORLD_H_
#define SKEIN_TESTS_CRASH_POWER_WORLD_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "storage/data_set.h"
#include "storage/fault_file.h"
#include "tests/crash/power_model.h"

namespace skein::storage {

struct PowerOptions {
  uint32_t shards = 1;
  uint32_t loops = 1;
  AppendFsync fsync = AppendFsync::kAlways;
  bool rewrite = false;
  uint64_t seed = 1;
  // The mistakes that this harness is there to catch, to show that it does.
  bool syncs_lie = false;
};

class PowerWorld {
 public:
  explicit PowerWorld(const PowerOptions& options);
  ~PowerWorld();

  static constexpr uint64_t kNever = ~uint64_t{0};

  // One life: opens what the last one left and compares, lets every shard append about `records`, ends cleanly. The
  // power goes before operation `cut_at` of this life, opening and closing included, and what happens later is for
  // nothing. Empty, or what is wrong. Once something is wrong there are no more lives.
  std::string Live(uint64_t cut_at, uint64_t records);

  // Whether the last life was cut; if not, it had this many operations.
  bool was_cut() const { return cut_; }
  uint64_t operations() const { return operations_.load(); }
  // Over all lives. A record is acknowledged once it is durable.
  uint64_t acknowledged() const { return acknowledged_; }
  uint64_t lost() const { return lost_; }
  uint64_t rewrites() const { return rewrites_; }

 private:
  struct Loop;

  int OnOperation(uint64_t cut_at);
  void Cut();
  std::string Compare();
  std::string CompareShard(uint32_t shard, size_t* records);
  void Serve(uint64_t records);
  void RunLoop(Loop* loop, uint64_t records);
  void RewriteAgainAndAgain();

  const PowerOptions options_;
  std::mt19937_64 rng_;
  std::unique_ptr<FaultFileSystem> disk_;
  std::vector<ShardModel> models_;
  std::vector<Lsn> promised_;  // by shard: what was durable when the power went, or at a clean end
  std::unique_ptr<DataSet> set_;
  std::atomic<DataSet*> live_{nullptr};  // set_, while its logs can be asked
  std::atomic<uint64_t> operations_{0};
  std::mutex cut_mutex_;
  std::unique_ptr<FaultFileSystem> left_;  // what the power left
  std::atomic<bool> cut_{false};
  std::atomic<uint32_t> writing_{0};  // loops that have not appended all they are to
  std::mutex writing_mutex_;
  std::condition_variable writing_changed_;
  uint64_t loss_seed_ = 0;
  uint64_t acknowledged_ = 0;
  uint64_t lost_ = 0;
  uint64_t rewrites_ = 0;
};

}  // namespace skein::storage

#endif  // SKEIN_TESTS_CRASH_POWER_WORLD_H_
