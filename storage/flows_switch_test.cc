// The log switched on and off where flows are: never while a shard is being replaced, nor the other way round.
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/flows.h"
#include "storage/flows_testing.h"
#include "storage/kill_point.h"

namespace skein::storage {
namespace {

constexpr char kWait[] = "the node is being synchronized with its primary; ask again after that";

struct Switch {
  std::promise<absl::Status> begun, ended;
  void On(ServedData& data) {
    data.data().TurnOn(AppendFsync::kAlways, {.begun = [this](const absl::Status& s) { begun.set_value(s); },
                                              .ended = [this](const absl::Status& s) { ended.set_value(s); }});
  }
  void Off(ServedData& data) {
    data.data().TurnOff([this](const absl::Status& s) { ended.set_value(s); });
  }
  absl::Status End() { return ended.get_future().get(); }
};

absl::Status TurnOn(ServedData& data) {
  Switch change;
  change.On(data);
  const absl::Status begun = change.begun.get_future().get();
  const absl::Status ended = change.End();
  EXPECT_TRUE(begun.ok() || begun == ended);
  return ended;
}

absl::Status TurnOff(ServedData& data) {
  Switch change;
  change.Off(data);
  return change.End();
}

class FlowSwitch : public testing::TestWithParam<uint32_t> {
 protected:
  void Fill(ServedData& data, const std::string& value) {
    for (int i = 0; i < 500; ++i) data.Set(0, Name(i), value);
  }
  // The last shard's.
  const uint32_t shards_ = GetParam(), last_ = shards_ - 1;
  FaultFileSystem theirs_, ours_;
};

TEST_P(FlowSwitch, NothingIsSwitchedOffWhileAShardIsBeingReplaced) {
  ServedData a(Primary(&theirs_, shards_)), b(Replica(&ours_, shards_));
  Fill(a, "new");
  Fill(b, "old");
  b.AwaitDurable();
  const Contents old = b.Read();
  const std::string base = *Snapshot(a, last_);
  {
    Reload reload(b, last_);
    reload.Feed(base.substr(0, base.size() / 2));
    const absl::Status status = TurnOff(b);
    EXPECT_EQ(status, absl::FailedPreconditionError(kWait));
    EXPECT_TRUE(b.data().logged());
  }
  EXPECT_EQ(TurnOff(b), absl::FailedPreconditionError(kWait)) << "given up, and not whole";
  // A start finds what was there before.
  const std::unique_ptr<FaultFileSystem> now = ours_.AfterPowerLoss(1);
  EXPECT_EQ(ServedData(Replica(now.get(), shards_)).Read(), old);
  for (uint32_t i = 0; i < shards_; ++i) ASSERT_TRUE(FullSync(a, b, i).ok());
  EXPECT_EQ(DigestOfAll(b), DigestOfAll(a));
  const absl::Status off = TurnOff(b);
  ASSERT_TRUE(off.ok()) << off;
  EXPECT_FALSE(b.data().logged());
}

TEST_P(FlowSwitch, NothingIsSwitchedOnWhileAShardIsBeingReplaced) {
  DataSetOptions options = Replica(&ours_, shards_);
  options.append_only = false;
  ServedData a(Primary(&theirs_, shards_)), b(options);
  Fill(a, "new");
  for (uint32_t i = 0; i < shards_; ++i) ASSERT_TRUE(FullSync(a, b, i).ok());
  const std::string base = *Snapshot(a, last_);
  {
    Reload reload(b, last_);
    reload.Feed(base);
    EXPECT_EQ(TurnOn(b), absl::FailedPreconditionError(kWait));
    for (uint32_t i = 0; i < shards_; ++i) {
      b.Run(i, [&](Shard& shard) { EXPECT_EQ(shard.log() != nullptr, i != last_) << "others follow on"; });
    }
    EXPECT_FALSE(*ours_.Exists("/data/appendonlydir"));
    const absl::StatusOr<Lsn> lsn = reload.End();
    EXPECT_TRUE(lsn.ok()) << lsn.status();
  }
  const absl::Status on = TurnOn(b);
  ASSERT_TRUE(on.ok()) << on;
  EXPECT_EQ(DigestOfAll(b), DigestOfAll(a));
}

// On the shard's thread.
void NothingIsReplaced(ServedData& data, uint32_t index) {
  EXPECT_TRUE(data.data().flows()->switching());
  data.Run(index, [&](Shard& shard) {
    const Log* const log = shard.log();
    const auto reload = data.data().flows()->BeginReload(
        &shard, {.on_room = nullptr, .done = [](absl::StatusOr<Lsn>) { ADD_FAILURE() << "it has not begun"; }});
    EXPECT_TRUE(absl::IsUnavailable(reload.status())) << reload.status();
    const absl::Status cut = data.data().flows()->CutTo(&shard, 0, [](const absl::Status&) { ADD_FAILURE(); });
    EXPECT_TRUE(absl::IsUnavailable(cut)) << cut;
    EXPECT_FALSE(shard.loading());
    EXPECT_EQ(shard.log(), log);
  });
}

TEST_P(FlowSwitch, NothingIsReplacedWhileTheLogIsSwitched) {
  DataSetOptions options = Replica(&ours_, shards_);
  options.append_only = false;
  ServedData a(Primary(&theirs_, shards_)), b(options);
  Fill(a, "new");
  Fill(b, "old");
  b.Hold(true);
  Switch on;
  on.On(b);
  ASSERT_TRUE(on.begun.get_future().get().ok());
  NothingIsReplaced(b, last_);
  b.Hold(false);
  const absl::Status status = on.End();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_FALSE(b.data().flows()->switching());
  for (uint32_t i = 0; i < shards_; ++i) ASSERT_TRUE(FullSync(a, b, i).ok());
  EXPECT_EQ(DigestOfAll(b), DigestOfAll(a));
  int visits = 0;
  SetKillPointHook([&](std::string_view name) {
    if (name != "switch.detached") return;
    ++visits;
    NothingIsReplaced(b, last_);
  });
  EXPECT_TRUE(TurnOff(b).ok());
  SetKillPointHook(nullptr);
  EXPECT_EQ(visits, 1);
  for (uint32_t i = 0; i < shards_; ++i) ASSERT_TRUE(FullSync(a, b, i).ok());
  EXPECT_EQ(DigestOfAll(b), DigestOfAll(a));
}

TEST_P(FlowSwitch, ASnapshotThatWaitedForAnotherDoesNotBeginWithoutALog) {
  ServedData a(Primary(&theirs_, shards_));
  Fill(a, "1");
  a.Hold(true);
  bool scheduled = false;
  Switch save;
  ASSERT_TRUE(a.saver()
                  .StartRdb(false, &scheduled,
                            {.begun = [&](const absl::Status& s) { save.begun.set_value(s); },
                             .ended = [&](const absl::Status& s) { save.ended.set_value(s); }})
                  .ok());
  ASSERT_TRUE(save.begun.get_future().get().ok());
  std::unique_ptr<SnapshotStream> stream =
      a.data().flows()->StreamSnapshot(last_, [](Shard&, const absl::StatusOr<Lsn>& lsn) { EXPECT_FALSE(lsn.ok()); });
  ASSERT_TRUE(TurnOff(a).ok());
  a.Hold(false);
  EXPECT_EQ(stream->Next().status(), absl::FailedPreconditionError("the shard has no log"));
  EXPECT_TRUE(save.End().ok());
  stream.reset();
  EXPECT_TRUE(a.SaveRdb().ok()) << "nothing is in its way";
}

TEST_P(FlowSwitch, WhoReadsALogThatWasSwitchedOffTakesNothingFromTheNextOne) {
  Contents want;
  {
    ServedData a(Primary(&theirs_, shards_));
    Fill(a, "first");
    a.AwaitDurable();
    absl::StatusOr<std::unique_ptr<LogFeed>> feed = a.data().flows()->OpenFeed(last_, 0);
    ASSERT_TRUE(feed.ok()) << feed.status();
    // What it reads is in no list any more.
    ASSERT_TRUE(a.Rewrite().ok());
    ASSERT_TRUE(TurnOff(a).ok());
    ASSERT_TRUE(TurnOn(a).ok());
    Fill(a, "second");
    feed->reset();
    want = a.Read();
    ASSERT_TRUE(a.Close().ok());
  }
  EXPECT_EQ(ServedData(Primary(&theirs_, shards_)).Read(), want);
}

INSTANTIATE_TEST_SUITE_P(Shards, FlowSwitch, testing::Values(1u, 2u), testing::PrintToStringParamName());

}  // namespace
}  // namespace skein::storage
