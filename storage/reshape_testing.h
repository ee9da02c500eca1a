// For tests of changes of a data set as a whole: some data, and folders that Redis left.
#ifndef SKEIN_STORAGE_RESHAPE_TESTING_H_
#define SKEIN_STORAGE_RESHAPE_TESTING_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/data_set.h"
#include "storage/fault_file.h"
#include "storage/log_testing.h"
#include "storage/rdb/encoder.h"
#include "storage/shard_testing.h"

namespace skein::storage {

inline constexpr uint32_t kShards = 3;
inline constexpr char kTarget[] = "/other";

inline std::unique_ptr<DataSet> MustOpen(const DataSetOptions& options) {
  absl::StatusOr<std::unique_ptr<DataSet>> set = DataSet::Open(options);
  EXPECT_TRUE(set.ok()) << set.status();
  return set.ok() ? *std::move(set) : nullptr;
}

inline Picture AllOf(DataSet* set) {
  Picture all;
  for (uint32_t i = 0; i < set->shard_count(); ++i) all.merge(PictureOf(set->shard(i)));
  return all;
}

// Runs SET and DEL, as Redis's files have them.
inline absl::Status RunSome(const std::vector<Shard*>& shards, uint32_t db, UnixMillis,
                            const std::vector<std::string_view>& argv) {
  const Key key(argv[1]);
  Shard& shard = *shards[key.slot % shards.size()];
  shard.Begin(0);
  absl::Status status;
  if (argv[0] == "SET" && argv.size() == 3) {
    shard.SetString(db, key, argv[2], kNoExpiry, "set");
  } else if (argv[0] == "DEL" && argv.size() == 2) {
    shard.Delete(db, key, "del", false);
  } else {
    status = absl::UnimplementedError("not known here");
  }
  shard.End();
  return status;
}

inline DataSetOptions Options(FileSystem* fs, uint32_t shards) {
  DataSetOptions options = TestOptions(fs, shards);
  options.run_command = RunSome;
  return options;
}

// Later than any clock that a test meets, so that no record of a reign is later than what the test writes.
inline constexpr UnixMillis kFirstTime = 5'000'000'000'000;

// Some keys in three shards, written at kFirstTime and a millisecond later each.
inline Picture Fill(FaultFileSystem* fs, int keys = 40) {
  const std::unique_ptr<DataSet> set = MustOpen(Options(fs, kShards));
  for (int i = 0; i < keys; ++i) {
    const std::string name = "key:" + std::to_string(i);
    const Key key(name);
    Shard& shard = set->shard(key.slot % kShards);
    shard.Begin(kFirstTime + i);
    shard.SetString(static_cast<uint32_t>(i % 3), key, std::to_string(i * i),
                    i % 4 == 0 ? 9'000'000'000'000 : kNoExpiry, "set");
    shard.End();
    shard.log()->Kick();
  }
  Picture all = AllOf(set.get());
  EXPECT_TRUE(set->Close().ok());
  return all;
}

// ---- What Redis left -----------------------------------------------------------------------------------------------

// A file, made or replaced, that is on disk.
inline void Put(FileSystem* fs, const std::string& path, const std::string& bytes) {
  const auto file = fs->Open(path, FileSystem::Mode::kReplace);
  ASSERT_TRUE(file.ok() && (*file)->WriteAt(0, bytes).ok() && (*file)->Sync().ok()) << path;
  ASSERT_TRUE(fs->SyncDir(DirName(path)).ok());
}

inline std::string Rdb(const std::map<std::string, std::string>& data, UnixMillis expired_before = 0) {
  std::string bytes;
  RdbEncoder encoder({}, &bytes);
  encoder.Begin();
  encoder.Aux("redis-ver", "7.0.15");
  for (const auto& [key, value] : data) {
    RdbItem item;
    item.key = key;
    item.string = value;
    if (expired_before != 0 && key == "gone") item.expire_at = expired_before;
    encoder.Add(item);
  }
  encoder.End();
  return bytes;
}

inline Picture PictureOfStrings(const std::map<std::string, std::string>& data) {
  Picture picture;
  for (const auto& [key, value] : data) picture[{0, key}] = {value, kNoExpiry, "embstr"};
  return picture;
}

inline std::string Tail() {
  return Body({"SELECT", "0"}) + "#TS:1700000000\r\n" + Body({"SET", "b", "second"}) + Body({"MULTI"}) +
         Body({"SET", "c", "third"}) + Body({"DEL", "x"}) + Body({"EXEC"});
}

inline void PutRedisFolder(FaultFileSystem* fs) {
  ASSERT_TRUE(fs->CreateDir("/appendonlydir").ok());
  ASSERT_TRUE(fs->SyncDir("/").ok());
  Put(fs, "/appendonlydir/appendonly.aof.1.base.rdb", Rdb({{"a", "first"}, {"x", "leaves"}}));
  Put(fs, "/appendonlydir/appendonly.aof.1.incr.aof", Tail());
  Put(fs, "/appendonlydir/appendonly.aof.2.incr.aof", Body({"SELECT", "0"}) + Body({"SET", "d", "fourth"}));
  Put(fs, "/appendonlydir/appendonly.aof.manifest",
      "file appendonly.aof.1.base.rdb seq 1 type b\n"
      "file appendonly.aof.1.incr.aof seq 1 type i\n"
      "file appendonly.aof.2.incr.aof seq 2 type i\n");
}

inline const std::map<std::string, std::string> kFolder = {
    {"a", "first"}, {"b", "second"}, {"c", "third"}, {"d", "fourth"}};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RESHAPE_TESTING_H_
