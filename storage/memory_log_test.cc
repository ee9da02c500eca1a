#include "storage/memory_log.h"

#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/backlog.h"
#include "storage/record.h"
#include "storage/records.h"

namespace skein::storage {
namespace {

std::string Text(const std::vector<std::string>& words) {
  std::string text = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  return text;
}

std::string All(const Backlog& backlog, Backlog::Cursor* cursor) {
  std::string bytes;
  while (cursor->lag() != 0) {
    iovec pieces[4];
    const size_t count = cursor->Peek(pieces, 4, 300'000);
    uint64_t size = 0;
    for (size_t i = 0; i < count; ++i) {
      bytes.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
      size += pieces[i].iov_len;
    }
    cursor->Skip(size);
  }
  EXPECT_EQ(cursor->lsn(), backlog.end());
  return bytes;
}

// Records are made in place in the backlog, or aside where a block ends: what is read there is the same.
TEST(MemoryLog, TheBacklogHoldsEachRecordAsItWasAppended) {
  MemoryLog log;
  log.KeepBacklog(1000);
  const auto cursor = log.backlog()->Pin(0);
  std::mt19937_64 random(7);
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  std::string expected;
  for (int i = 0; i < 1500; ++i) {
    const size_t effects = i % 50 == 0 ? 40 : 1 + below(3);
    const auto db = static_cast<uint32_t>(below(3));
    std::string body;
    uint32_t current = db;
    for (size_t e = 0; e < effects; ++e) {
      const uint32_t at = below(4) == 0 ? static_cast<uint32_t>(below(3)) : current;
      if (e != 0 && at != current) body += Text({"SELECT", std::to_string(at)});
      current = e == 0 ? db : at;
      const size_t size = i % 100 == 7 ? 150'000 : i % 10 == 0 ? 9000 : below(200);
      const std::string value(size, static_cast<char>('a' + i % 26));
      log.AppendEffect(current, static_cast<uint16_t>(i), {"SET", "key", value});
      body += Text({"SET", "key", value});
    }
    RecordHeader header;
    header.db = static_cast<uint16_t>(db);
    header.slot = static_cast<uint16_t>(i);
    header.lsn = expected.size();
    header.time = 1000 + i;
    header.body_size = body.size();
    char bytes[kRecordHeaderSize];
    EncodeRecordHeaderUnsummed(header, bytes);
    expected.append(bytes, sizeof(bytes)).append(body);
    ASSERT_EQ(log.EndRecord(1000 + i), expected.size());
    ASSERT_EQ(log.backlog()->end(), expected.size()) << i;
  }
  ASSERT_EQ(log.end(), expected.size());
  const std::string held = All(*log.backlog(), cursor.get());
  ASSERT_EQ(held.size(), expected.size());
  EXPECT_TRUE(held == expected);
  EXPECT_EQ(WholeRecords(held), held.size());
}

TEST(MemoryLog, CountsTheSameWithoutABacklog) {
  MemoryLog with, without;
  with.KeepBacklog(1000);
  for (MemoryLog* const log : {&with, &without}) {
    for (int i = 0; i < 100; ++i) {
      log->AppendEffect(0, 1, {"SET", "key", std::string(static_cast<size_t>(i) * 100, 'v')});
      log->AppendEffect(1, 1, {"DEL", "key"});
      log->EndRecord(1);
    }
    EXPECT_EQ(log->EndRecord(1), 0u) << "nothing was appended";
  }
  EXPECT_EQ(with.end(), without.end());
  without.KeepBacklog(1000);
  EXPECT_EQ(without.backlog()->begin(), without.end());
  EXPECT_EQ(without.backlog()->Pin(without.end() - 1), nullptr);
}

}  // namespace
}  // namespace skein::storage
