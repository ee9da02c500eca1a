// For tests of replication's storage: a primary and a replica as two data sets, joined by bytes.
#ifndef SKEIN_STORAGE_FLOWS_TESTING_H_
#define SKEIN_STORAGE_FLOWS_TESTING_H_

#include <future>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "storage/digest.h"
#include "storage/flows.h"
#include "storage/follow.h"
#include "storage/history.h"
#include "storage/log.h"
#include "storage/records.h"
#include "storage/saver_testing.h"

namespace skein::storage {

inline constexpr uint64_t kBacklog = 1 << 20;

inline std::string Name(int i) { return "key:" + std::to_string(i); }

inline DataSetOptions Primary(FileSystem* fs, uint32_t shards = 1) { return ServedData::OptionsOn(fs, true, shards); }
inline DataSetOptions Replica(FileSystem* fs, uint32_t shards = 1) {
  DataSetOptions options = ServedData::OptionsOn(fs, true, shards);
  options.follow = true;
  return options;
}

// What one shard's log is.
struct Place {
  Lsn end = 0;
  std::vector<Reign> history;
  bool operator==(const Place&) const = default;
};
inline Place PlaceOf(ServedData& data, uint32_t shard = 0) {
  Place place;
  data.Run(shard, [&](Shard& s) { place = {s.log()->end(), s.log()->history()}; });
  return place;
}

inline void Keep(ServedData& data, uint32_t shard = 0) {
  data.Run(shard, [](Shard& s) { s.log()->KeepBacklog(kBacklog); });
}

// The bytes from `from` to the end of the backlog.
inline std::string FromBacklog(ServedData& data, Lsn from, uint32_t shard = 0) {
  std::string bytes;
  data.Run(shard, [&](Shard& s) {
    s.log()->Kick();
    const std::unique_ptr<Backlog::Cursor> cursor = s.log()->backlog()->Pin(from);
    ASSERT_NE(cursor, nullptr);
    iovec pieces[4];
    while (cursor->lag() > 0) {
      const size_t count = cursor->Peek(pieces, 4, 1000);
      for (size_t i = 0; i < count; ++i) {
        bytes.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
        cursor->Skip(pieces[i].iov_len);
      }
    }
  });
  return bytes;
}

inline absl::StatusOr<std::string> FromFiles(ServedData& data, Lsn from, Lsn to, uint32_t shard = 0) {
  absl::StatusOr<std::unique_ptr<LogFeed>> feed = data.data().flows()->OpenFeed(shard, from);
  if (!feed.ok()) return feed.status();
  std::string bytes;
  while (true) {
    const absl::StatusOr<std::string_view> more = (*feed)->Next(to, 1000);
    if (!more.ok()) return more.status();
    if (more->empty()) return bytes;
    EXPECT_EQ(WholeRecords(*more), more->size());
    bytes += *more;
  }
}

inline absl::Status Follow(ServedData& data, std::string_view bytes, uint32_t shard = 0) {
  absl::Status status;
  data.Run(shard, [&](Shard& s) { status = FollowRecords(&s, bytes); });
  return status;
}

// A reload in the making.
struct Reload {
  explicit Reload(ServedData& data, uint32_t shard = 0) : data(data), shard(shard) {
    data.Run(shard, [this](Shard& s) {
      auto begun = this->data.data().flows()->BeginReload(
          &s, {.on_room = [this] { room.count_down(); },
               .done = [this](absl::StatusOr<Lsn> lsn) { done.set_value(std::move(lsn)); }});
      refused = begun.status();
      if (begun.ok()) reload = *std::move(begun);
    });
  }
  ~Reload() {
    data.Run(shard, [this](Shard&) { reload.reset(); });
  }
  bool Feed(std::string bytes) {
    bool more = false;
    data.Run(shard, [&](Shard&) { more = reload->Feed(std::move(bytes)); });
    return more;
  }
  absl::StatusOr<Lsn> End() {
    data.Run(shard, [this](Shard&) { reload->Finish(); });
    return done.get_future().get();
  }
  ServedData& data;
  const uint32_t shard;
  absl::Status refused;
  std::unique_ptr<ShardReload> reload;
  std::latch room{1};
  std::promise<absl::StatusOr<Lsn>> done;
};

inline absl::StatusOr<std::string> Snapshot(ServedData& data, uint32_t shard = 0, Lsn* at = nullptr) {
  auto begun = std::make_shared<std::promise<absl::StatusOr<Lsn>>>();
  std::unique_ptr<SnapshotStream> stream = data.data().flows()->StreamSnapshot(
      shard, [begun](Shard&, absl::StatusOr<Lsn> lsn) { begun->set_value(std::move(lsn)); });
  std::string bytes;
  while (true) {
    const absl::StatusOr<std::string_view> more = stream->Next();
    if (!more.ok()) return more.status();
    if (more->empty()) break;
    bytes += *more;
  }
  const absl::StatusOr<Lsn> lsn = begun->get_future().get();
  if (!lsn.ok()) return lsn.status();
  if (at != nullptr) *at = *lsn;
  return bytes;
}

inline absl::StatusOr<Lsn> FullSync(ServedData& primary, ServedData& replica, uint32_t shard = 0) {
  const absl::StatusOr<std::string> base = Snapshot(primary, shard);
  if (!base.ok()) return base.status();
  Reload reload(replica, shard);
  for (size_t at = 0; at < base->size(); at += 777) reload.Feed(base->substr(at, 777));
  return reload.End();
}

// What all shards hold.
inline Digest DigestOfAll(ServedData& data) {
  Digest sum;
  for (uint32_t i = 0; i < data.data().shard_count(); ++i) data.Run(i, [&](Shard& s) { sum ^= DigestOf(s); });
  return sum;
}

// Cuts and waits. `refused`: what CutTo said at once.
inline absl::Status Cut(ServedData& data, Lsn lsn, uint32_t shard = 0) {
  std::promise<absl::Status> done;
  absl::Status refused;
  data.Run(shard, [&](Shard& s) {
    refused = data.data().flows()->CutTo(&s, lsn, [&](const absl::Status& status) { done.set_value(status); });
  });
  return refused.ok() ? done.get_future().get() : refused;
}

inline absl::StatusOr<LostRecords> SetAside(ServedData& data, Lsn from, Lsn to, uint32_t shard = 0) {
  std::promise<absl::StatusOr<LostRecords>> done;
  data.data().flows()->SetLostRecordsAside(shard, from, to,
                                           [&](absl::StatusOr<LostRecords> lost) { done.set_value(std::move(lost)); });
  return done.get_future().get();
}

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_FLOWS_TESTING_H_
