// The log switched on and off while shards serve: at every step the old state or the new one (L12), and never data that
// is older than what the node held, in silence.
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/fault_file.h"
#include "storage/kill_point.h"
#include "storage/log.h"
#include "storage/saver_testing.h"

namespace skein::storage {
namespace {

constexpr int kKeys = 60;

void Fill(ServedData* data, const std::string& tag) {
  for (int i = 0; i < kKeys; ++i) {
    data->Set(static_cast<uint32_t>(i % 2), "key:" + std::to_string(i), tag + std::to_string(i));
  }
}

absl::Status TurnOn(ServedData* data, AppendFsync fsync = AppendFsync::kAlways) {
  auto begun = std::make_shared<std::promise<absl::Status>>();
  auto ended = std::make_shared<std::promise<absl::Status>>();
  data->data().TurnOn(fsync, {.begun = [begun](const absl::Status& s) { begun->set_value(s); },
                              .ended = [ended](const absl::Status& s) { ended->set_value(s); }});
  const absl::Status status = ended->get_future().get();
  begun->get_future().get().IgnoreError();  // it came
  return status;
}

absl::Status TurnOff(ServedData* data) {
  auto ended = std::make_shared<std::promise<absl::Status>>();
  data->data().TurnOff([ended](const absl::Status& s) { ended->set_value(s); });
  return ended->get_future().get();
}

DataSetOptions With(FileSystem* fs, bool append_only, uint32_t shards) {
  return ServedData::OptionsOn(fs, append_only, shards);
}

Contents Reopened(FileSystem* fs, bool append_only, uint32_t shards) {
  return ServedData(With(fs, append_only, shards)).Read();
}

class LogSwitch : public testing::TestWithParam<uint32_t> {};

TEST_P(LogSwitch, OnMakesTheLogTheData) {
  FaultFileSystem fs;
  Contents want;
  {
    ServedData data(With(&fs, false, GetParam()));
    Fill(&data, "a");
    EXPECT_FALSE(data.data().logged());
    ASSERT_TRUE(TurnOn(&data).ok());
    EXPECT_TRUE(data.data().logged());
    EXPECT_TRUE(data.data().stats().enabled);
    data.Set(1, "later", "x");
    ASSERT_TRUE(data.Rewrite().ok()) << "the saver has the logs";
    data.Set(1, "last", "y");
    want = data.Read();
    ASSERT_TRUE(data.Close().ok());
  }
  EXPECT_EQ(Reopened(&fs, true, GetParam()), want);
}

TEST_P(LogSwitch, L12_PowerLossAtAnyStepOfOnLeavesTheRdbOrTheLog) {
  FaultFileSystem fs;
  ServedData data(With(&fs, false, GetParam()));
  Fill(&data, "saved");
  ASSERT_TRUE(data.SaveRdb().ok());
  const Contents saved = data.Read();
  Fill(&data, "unsaved");
  const Contents now = data.Read();
  PowerCuts cuts(&fs);
  ASSERT_TRUE(TurnOn(&data).ok());
  std::vector<std::unique_ptr<FaultFileSystem>> disks = cuts.End();
  ASSERT_GT(disks.size(), 30u);
  bool both[2] = {};
  for (std::unique_ptr<FaultFileSystem>& disk : disks) {
    // Reading with appendonly no changes nothing.
    EXPECT_EQ(Reopened(disk.get(), false, GetParam()), saved);
    const Contents found = Reopened(disk.get(), true, GetParam());
    ASSERT_TRUE(found == saved || found == now);
    both[found == now] = true;
  }
  EXPECT_TRUE(both[0] && both[1]);
  EXPECT_EQ(Reopened(disks.back().get(), true, GetParam()), now) << "it has been said to be the data";
}

TEST_P(LogSwitch, L12_AnErrorAtAnyStepOfOnLeavesItOff) {
  for (const bool from_there_on : {false, true}) {
    for (int nth = 0;; ++nth) {
      FaultFileSystem fs;
      ServedData data(With(&fs, false, GetParam()));
      Fill(&data, "a");
      FailAt fail(&fs, nth, from_there_on);
      const absl::Status status = TurnOn(&data);
      if (!fail.End(nth)) {
        ASSERT_TRUE(status.ok()) << status;
        break;
      }
      SCOPED_TRACE("operation " + std::to_string(nth) + (from_there_on ? " and all after it: " : ": ") +
                   std::string(status.message()));
      // An error that a log gets over by itself is none.
      if (!status.ok()) {
        EXPECT_FALSE(data.data().logged());
        EXPECT_FALSE(data.data().stats().enabled);
      }
      data.Run(0, [&](Shard& shard) {
        EXPECT_EQ(shard.log() != nullptr, status.ok());
        EXPECT_TRUE(shard.MayWrite().ok()) << "a log that could not begin refuses nothing";
      });
      Fill(&data, "b");
      const absl::Status again = TurnOn(&data);
      ASSERT_TRUE(again.ok()) << again;
      const Contents want = data.Read();
      ASSERT_TRUE(data.Close().ok());
      EXPECT_EQ(Reopened(&fs, true, GetParam()), want);
    }
  }
}

TEST_P(LogSwitch, WhatWasSwitchedOffIsNotTakenForTheDataLater) {
  FaultFileSystem fs;
  Contents with_log, without;
  {
    ServedData data(With(&fs, true, GetParam()));
    Fill(&data, "logged");
    with_log = data.Read();
    ASSERT_TRUE(TurnOff(&data).ok());
    EXPECT_FALSE(data.data().logged());
    EXPECT_FALSE(data.data().stats().enabled);
    Fill(&data, "not logged");
    without = data.Read();
    ASSERT_TRUE(data.SaveRdb().ok());
    ASSERT_TRUE(data.Close().ok());
  }
  const absl::StatusOr<std::unique_ptr<DataSet>> opened = DataSet::Open(With(&fs, true, GetParam()));
  ASSERT_EQ(opened.status().code(), absl::StatusCode::kFailedPrecondition) << opened.status();
  EXPECT_NE(opened.status().message().find("was switched off"), std::string::npos);
  EXPECT_NE(opened.status().message().find("switched-off.md"), std::string::npos);
  EXPECT_EQ(DataSet::Check(With(&fs, true, GetParam())), opened.status()) << "L14";
  // The way out: without it, and on again.
  {
    ServedData data(With(&fs, false, GetParam()));
    EXPECT_EQ(data.Read(), without);
    ASSERT_TRUE(TurnOn(&data).ok());
  }
  EXPECT_EQ(Reopened(&fs, true, GetParam()), without);
}

TEST_P(LogSwitch, L12_PowerLossAtAnyStepOfOffLosesNothingInSilence) {
  FaultFileSystem fs;
  ServedData data(With(&fs, true, GetParam()));
  Fill(&data, "saved");
  ASSERT_TRUE(data.SaveRdb().ok());
  const Contents saved = data.Read();
  Fill(&data, "logged");
  for (uint32_t i = 0; i < GetParam(); ++i) data.Run(i, [](Shard& shard) { shard.log()->AskSync(shard.log()->end()); });
  for (bool durable = false; !durable;) {
    durable = true;
    for (const DataSet::Stats::PerShard& shard : data.data().stats().shards)
      durable = durable && shard.durable == shard.end;
  }
  const Contents now = data.Read();
  PowerCuts cuts(&fs);
  ASSERT_TRUE(TurnOff(&data).ok());
  bool both[2] = {};
  for (std::unique_ptr<FaultFileSystem>& disk : cuts.End()) {
    EXPECT_EQ(Reopened(disk.get(), false, GetParam()), saved);
    const absl::Status status = DataSet::Check(With(disk.get(), true, GetParam()));
    both[status.ok()] = true;
    if (status.ok()) {
      EXPECT_EQ(Reopened(disk.get(), true, GetParam()), now);
    } else {
      EXPECT_NE(status.message().find("was switched off"), std::string::npos) << status;
    }
  }
  EXPECT_TRUE(both[0] && both[1]);
}

TEST_P(LogSwitch, LsnsGoOnWhenItIsSwitchedOnAgain) {
  FaultFileSystem fs;
  ServedData data(With(&fs, true, GetParam()));
  Fill(&data, "a");
  std::vector<Lsn> ends(GetParam());
  for (int round = 0; round < 4; ++round) {
    const std::vector<DataSet::Stats::PerShard> shards = data.data().stats().shards;
    for (uint32_t i = 0; i < GetParam(); ++i) {
      EXPECT_GT(shards[i].end, ends[i]);
      ends[i] = shards[i].end;
    }
    ASSERT_TRUE(TurnOff(&data).ok());
    ASSERT_TRUE(TurnOff(&data).ok()) << "is off already";
    Fill(&data, std::to_string(round));
    ASSERT_TRUE(TurnOn(&data).ok());
    ASSERT_TRUE(TurnOn(&data).ok()) << "is on already";
    Fill(&data, std::to_string(round) + "!");
  }
  const Contents want = data.Read();
  ASSERT_TRUE(data.Close().ok());
  EXPECT_EQ(Reopened(&fs, true, GetParam()), want);
}

TEST_P(LogSwitch, OffEndsABeginning) {
  FaultFileSystem fs;
  ServedData data(With(&fs, false, GetParam()));
  Fill(&data, "a");
  data.Hold(true);  // the first rewrite does not get on
  auto begun = std::make_shared<std::promise<absl::Status>>();
  auto ended = std::make_shared<std::promise<absl::Status>>();
  data.data().TurnOn(AppendFsync::kAlways, {.begun = [begun](const absl::Status& s) { begun->set_value(s); },
                                            .ended = [ended](const absl::Status& s) { ended->set_value(s); }});
  ASSERT_TRUE(begun->get_future().get().ok());
  EXPECT_TRUE(data.data().stats().enabled);
  EXPECT_FALSE(data.data().logged());
  EXPECT_FALSE(*fs.Exists("/data/appendonlydir"));
  ASSERT_TRUE(TurnOff(&data).ok());
  EXPECT_TRUE(absl::IsCancelled(ended->get_future().get()));
  EXPECT_FALSE(data.data().stats().enabled);
  EXPECT_FALSE(*fs.Exists("/data/appendonlydir.new"));
  data.Hold(false);
  ASSERT_TRUE(TurnOn(&data).ok());
}

TEST_P(LogSwitch, AFolderInUseIsLeftAlone) {
  FaultFileSystem fs;
  ServedData data(With(&fs, false, GetParam()));
  const auto lock = fs.Lock("/data/appendonlydir.lock");
  ASSERT_TRUE(lock.ok());
  const absl::Status status = TurnOn(&data);
  EXPECT_NE(status.message().find("in use by another process"), std::string::npos) << status;
}

TEST_P(LogSwitch, WhatStoodThereIsKeptUnderAnotherName) {
  FaultFileSystem fs;
  {
    ServedData data(With(&fs, true, GetParam()));
    Fill(&data, "older");
  }
  ServedData data(With(&fs, false, GetParam()));
  ASSERT_TRUE(TurnOn(&data).ok());
  int kept = 0;
  const std::vector<std::string> names = *fs.List("/data");
  for (const std::string& name : names) {
    if (name.starts_with("appendonlydir.replaced-")) ++kept;
  }
  EXPECT_EQ(kept, 1);
  ASSERT_TRUE(data.Close().ok());
  EXPECT_EQ(Reopened(&fs, true, GetParam()), Contents());
}

INSTANTIATE_TEST_SUITE_P(Shards, LogSwitch, testing::Values(1u, 2u), testing::PrintToStringParamName());

}  // namespace
}  // namespace skein::storage
