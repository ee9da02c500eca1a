// SIGKILL of a process that writes, on the real file system: all that was written is there.
//
// This says nothing about syncs (the page cache survives a process); power_loss_test does.
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string>

#include "gtest/gtest.h"
#include "storage/log_testing.h"

namespace skein::storage {
namespace {

// What the child tells the parent, in memory that both have.
struct Told {
  std::atomic<Lsn> written[8];
  std::atomic<Lsn> durable[8];
  std::atomic<uint64_t> rounds;
};

// Record `n` of shard `shard`: distinguishable, so that the parent knows what must be there.
std::string ValueOf(uint32_t shard, uint64_t n) {
  return std::to_string(shard) + ":" + std::to_string(n) + std::string(n % 300, '.');
}

[[noreturn]] void WriteUntilKilled(const DataSetOptions& options, Told* told) {
  OpenedSet opened = OpenSet(options, {});
  if (!opened.status.ok()) _exit(3);
  std::vector<uint64_t> next;
  for (const RecordingSink& sink : opened.sinks) next.push_back(sink.bodies.size());
  while (true) {
    for (uint32_t shard = 0; shard < opened.set->shard_count(); ++shard) {
      Log& log = opened.set->log(shard);
      told->written[shard].store(log.written());
      told->durable[shard].store(log.durable());
      if (!log.MayWrite().ok()) continue;
      for (int i = 0; i < 10; ++i) {
        log.AppendEffect(0, 5, {"SET", "k", ValueOf(shard, next[shard]++)});
        log.EndRecord(1);
      }
      log.Kick();
    }
    told->rounds.fetch_add(1);
  }
}

class Kill : public testing::TestWithParam<std::tuple<uint32_t, AppendFsync>> {};

TEST_P(Kill, L05_EverythingWrittenIsThere) {
  const auto [shards, fsync] = GetParam();
  std::string dir = std::string(testing::TempDir()) + "/killXXXXXX";
  ASSERT_NE(mkdtemp(dir.data()), nullptr);
  DataSetOptions options = TestOptions(nullptr, shards, fsync);
  options.dir = dir;
  options.log_buffer_limit = 1u << 20;
  void* const shared = mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  for (int life = 0; life < 3; ++life) {
    Told* const told = new (shared) Told{};
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) WriteUntilKilled(options, told);
    // At some instant after the logs have begun to move.
    const auto moved = [&] {
      for (uint32_t shard = 0; shard < shards; ++shard) {
        if (told->written[shard].load() < 2000) return false;
      }
      return told->rounds.load() > static_cast<uint64_t>(20 + 37 * life);
    };
    int status = 0;
    Progress progress;
    EXPECT_TRUE(progress.Await(moved));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << status;

    OpenedSet opened = OpenSet(options);  // the lock went with the process
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    for (uint32_t shard = 0; shard < shards; ++shard) {
      EXPECT_GE(opened.set->report().shards[shard].end, told->written[shard].load());
      EXPECT_GE(told->written[shard].load(), told->durable[shard].load());
      const std::vector<std::string>& bodies = opened.sinks[shard].bodies;
      for (uint64_t n = 0; n < bodies.size(); ++n) {
        ASSERT_EQ(bodies[n], Body({"SET", "k", ValueOf(shard, n)})) << n;
      }
    }
    ASSERT_TRUE(opened.set->Close().ok());
  }
  munmap(shared, sizeof(Told));
  ASSERT_EQ(std::system(("rm -r " + dir).c_str()), 0);
}

TEST(FailedSync, L15_UnderAlwaysTheProcessExitsWithCode1) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    FaultFileSystem fs;
    OpenedSet opened = OpenSet(TestOptions(&fs, 1));
    if (!opened.status.ok()) _exit(3);
    fs.SetHook([](FaultFileSystem::Op op, const std::string&) { return op == FaultFileSystem::Op::kSync ? EIO : 0; });
    AppendSet(&opened.set->log(0), "k", "v");
    Progress progress;
    progress.Await([] { return false; });
    _exit(4);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

// A limit on the size of files makes real writes short, then fail; lifted, the log comes back by itself.
int WriteIntoALimit(const DataSetOptions& options) {
  signal(SIGXFSZ, SIG_IGN);
  OpenedSet opened = OpenSet(options);
  if (!opened.status.ok()) return 10;
  rlimit limit;
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = 5000;
  setrlimit(RLIMIT_FSIZE, &limit);
  Log& log = opened.set->log(0);
  for (uint64_t n = 0; n < 100; ++n) AppendSet(&log, "k", ValueOf(0, n));
  Progress progress;
  if (!progress.Await([&] { return absl::IsFailedPrecondition(log.MayWrite()); })) return 11;
  if (log.MayWrite().message().find("File too large") == std::string::npos) return 12;
  if (log.durable() >= log.end()) return 13;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_FSIZE, &limit);
  if (!progress.Await([&] { return log.durable() == log.end(); })) return 14;
  if (!log.MayWrite().ok()) return 15;
  return opened.set->Close().ok() ? 0 : 16;
}

TEST(FailedWrite, ShortWritesOfTheRealFileSystemAreMadeGood) {
  std::string dir = std::string(testing::TempDir()) + "/limitXXXXXX";
  ASSERT_NE(mkdtemp(dir.data()), nullptr);
  DataSetOptions options = TestOptions(nullptr, 1);
  options.dir = dir;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(WriteIntoALimit(options));
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  {
    OpenedSet opened = OpenSet(options);
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    ASSERT_EQ(opened.sinks[0].bodies.size(), 100u);
    for (uint64_t n = 0; n < 100; ++n) EXPECT_EQ(opened.sinks[0].bodies[n], Body({"SET", "k", ValueOf(0, n)}));
    EXPECT_EQ(opened.set->report().shards[0].cut_bytes, 0u);
  }
  ASSERT_EQ(std::system(("rm -r " + dir).c_str()), 0);
}

INSTANTIATE_TEST_SUITE_P(, Kill,
                         testing::Combine(testing::Values(1u, 4u),
                                          testing::Values(AppendFsync::kAlways, AppendFsync::kEverySec)));

}  // namespace
}  // namespace skein::storage
