// Saves on a disk that fails, fills up and loses power: the old state or the new one, whole, at every step (L12).
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/fault_file.h"
#include "storage/saver_testing.h"

namespace skein::storage {
namespace {

using Op = FaultFileSystem::Op;

void Fill(ServedData* data, const std::string& tag) {
  for (int i = 0; i < 120; ++i) {
    data->Set(static_cast<uint32_t>(i % 2), "key:" + std::to_string(i), tag + std::to_string(i) + std::string(60, '.'));
  }
}

TEST(SaverFault, L12_RdbAtAnyFailedStepIsTheOldOrTheNewOne) {
  for (const bool from_there_on : {false, true}) {
    bool reached = true;
    int failures = 0;
    for (int nth = 0; reached; ++nth) {
      ASSERT_LT(nth, 100);
      FaultFileSystem fs;
      Contents old_state, new_state;
      {
        ServedData data(ServedData::OptionsOn(&fs, false, 2));
        Fill(&data, "old");
        old_state = data.Read();
        ASSERT_TRUE(data.SaveRdb().ok());
        Fill(&data, "new");
        new_state = data.Read();
        FailAt fail(&fs, nth, from_there_on);
        const absl::Status status = data.SaveRdb();
        reached = fail.End(nth);
        failures += status.ok() ? 0 : 1;
        EXPECT_EQ(data.saver().status().running, SaveStatus::Kind::kNone) << nth;
        EXPECT_EQ(data.saver().status().last_save_ok, status.ok());
        EXPECT_TRUE(reached || status.ok()) << status;
        const absl::StatusOr<RdbContents> found = ReadRdbFile(&fs, "/data/dump.rdb");
        ASSERT_TRUE(found.ok()) << nth << " " << found.status();
        EXPECT_TRUE(found->keys == (status.ok() ? new_state : old_state) || (!status.ok() && found->keys == new_state))
            << nth;
        EXPECT_TRUE(from_there_on || fs.Tree().find("temp-") == std::string::npos) << nth << fs.Tree();
        // And the next goes well.
        EXPECT_TRUE(data.SaveRdb().ok());
        EXPECT_EQ(ReadRdbFile(&fs, "/data/dump.rdb")->keys, new_state);
      }
      EXPECT_EQ(fs.Tree().find("temp-"), std::string::npos) << nth;
    }
    EXPECT_GE(failures, 4) << "open, write, sync, rename, sync of the folder";
  }
}

TEST(SaverFault, L12_RdbAtPowerLossIsTheOldOrTheNewOne) {
  FaultFileSystem fs;
  ServedData data(ServedData::OptionsOn(&fs, false, 2));
  Fill(&data, "old");
  const Contents old_state = data.Read();
  ASSERT_TRUE(data.SaveRdb().ok());
  Fill(&data, "new");
  const Contents new_state = data.Read();
  PowerCuts cuts(&fs);
  ASSERT_TRUE(data.SaveRdb().ok());
  const auto disks = cuts.End();
  ASSERT_GT(disks.size(), 10u);
  int olds = 0;
  for (size_t i = 0; i < disks.size(); ++i) {
    const absl::StatusOr<RdbContents> found = ReadRdbFile(disks[i].get(), "/data/dump.rdb");
    ASSERT_TRUE(found.ok()) << i << " " << found.status();
    EXPECT_TRUE(found->keys == old_state || found->keys == new_state) << i;
    olds += found->keys == old_state ? 1 : 0;
  }
  EXPECT_GT(olds, 0);
  EXPECT_EQ(ReadRdbFile(disks.back().get(), "/data/dump.rdb")->keys, new_state) << "what was reported is kept";
}

TEST(SaverFault, L12_RewriteAtAnyFailedStepLosesNothing) {
  for (const bool from_there_on : {false, true}) {
    bool reached = true;
    for (int nth = 0; reached; ++nth) {
      ASSERT_LT(nth, 200);
      FaultFileSystem fs;
      Contents state;
      {
        DataSetOptions options = ServedData::OptionsOn(&fs, true, 2);
        ServedData data(options);
        Fill(&data, "v");
        data.AwaitDurable();
        FailAt fail(&fs, nth, from_there_on);
        const absl::Status status = data.Rewrite();
        reached = fail.End(nth);
        EXPECT_TRUE(reached || status.ok()) << status;
        const SaveStatus after = data.saver().status();
        EXPECT_TRUE(after.running == SaveStatus::Kind::kNone || after.rewrites > 1) << nth << ": L17, the flag";
        state = data.Read();
      }
      ServedData again(ServedData::OptionsOn(&fs, true, 2));
      EXPECT_EQ(again.Read(), state) << nth;
      again.Set(0, "later", "1");
      EXPECT_TRUE(again.Rewrite().ok()) << nth;
    }
  }
}

TEST(SaverFault, L12_RewriteAtPowerLossLosesNothing) {
  FaultFileSystem fs;
  ServedData data(ServedData::OptionsOn(&fs, true, 2));
  Fill(&data, "old");
  ASSERT_TRUE(data.Rewrite().ok());
  Fill(&data, "new");
  data.AwaitDurable();
  const Contents state = data.Read();
  PowerCuts cuts(&fs);
  ASSERT_TRUE(data.Rewrite().ok());
  const auto disks = cuts.End();
  ASSERT_GT(disks.size(), 30u);
  for (size_t i = 0; i < disks.size(); ++i) {
    ServedData found(ServedData::OptionsOn(disks[i].get(), true, 2));
    ASSERT_EQ(found.Read(), state) << i;
  }
}

TEST(SaverFault, FullDiskGivesItsRoomBack) {
  FaultFileSystem fs;
  DataSetOptions options = ServedData::OptionsOn(&fs, true, 2);
  ServedData data(options);
  Fill(&data, "v");
  data.AwaitDurable();
  fs.SetRoom(2000);
  EXPECT_FALSE(data.Rewrite().ok());
  EXPECT_FALSE(data.SaveRdb().ok());
  EXPECT_EQ(fs.Tree().find("base."), std::string::npos);
  EXPECT_EQ(fs.Tree().find("temp-"), std::string::npos);
  fs.SetRoom(FaultFileSystem::kUnlimited);
  EXPECT_TRUE(data.Rewrite().ok());
  EXPECT_TRUE(data.SaveRdb().ok());
}

}  // namespace
}  // namespace skein::storage
