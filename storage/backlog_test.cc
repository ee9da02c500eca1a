#include "storage/backlog.h"

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace skein::storage {
namespace {

std::string Read(Backlog::Cursor* cursor, size_t max_pieces = 3, uint64_t max_bytes = 1 << 20) {
  std::vector<iovec> pieces(max_pieces);
  const size_t count = cursor->Peek(pieces.data(), max_pieces, max_bytes);
  std::string bytes;
  for (size_t i = 0; i < count; ++i) bytes.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
  return bytes;
}

TEST(Backlog, GivesWhatItHoldsAndNothingElse) {
  Backlog backlog(1000, 10);
  EXPECT_EQ(backlog.Pin(999), nullptr);
  EXPECT_EQ(backlog.Pin(1001), nullptr);
  const auto early = backlog.Pin(1000);
  ASSERT_NE(early, nullptr);
  EXPECT_EQ(Read(early.get()), "");
  backlog.Append("0123456789");
  backlog.Append("abc");
  EXPECT_EQ(backlog.end(), 1013u);
  EXPECT_EQ(Read(early.get()), "0123456789abc");
  EXPECT_EQ(Read(early.get(), 3, 4), "0123");
  early->Skip(4);
  EXPECT_EQ(early->lsn(), 1004u);
  EXPECT_EQ(early->lag(), 9u);
  const auto late = backlog.Pin(1013);
  ASSERT_NE(late, nullptr);
  EXPECT_EQ(late->lag(), 0u);
}

TEST(Backlog, KeepsTheLimitAndWhatIsPinned) {
  constexpr uint64_t kLimit = 300'000;
  Backlog backlog(0, kLimit);
  const std::string piece(10'000, 'x');
  auto cursor = backlog.Pin(0);
  for (int i = 0; i < 200; ++i) backlog.Append(piece);
  EXPECT_EQ(backlog.begin(), 0u) << "pinned";
  EXPECT_EQ(cursor->lag(), 2'000'000u);
  EXPECT_GT(backlog.extra_memory(), 2'000'000u - kLimit - 3 * Backlog::kBlockSize);
  EXPECT_LT(backlog.extra_memory(), backlog.memory() - kLimit);
  cursor->Skip(1'000'000);
  EXPECT_GT(backlog.begin(), 1'000'000u - Backlog::kBlockSize - 1);
  EXPECT_LE(backlog.begin(), 1'000'000u);
  cursor.reset();
  EXPECT_GE(backlog.bytes(), kLimit);
  EXPECT_LT(backlog.bytes(), kLimit + Backlog::kBlockSize);
  EXPECT_LT(backlog.memory(), kLimit + 3 * Backlog::kBlockSize);
  EXPECT_EQ(backlog.extra_memory(), 0u);
  backlog.set_limit(0);
  EXPECT_LE(backlog.bytes(), Backlog::kBlockSize);
  EXPECT_EQ(backlog.Pin(0), nullptr);
}

TEST(Backlog, IsFilledInPlaceAsFarAsABlockReaches) {
  Backlog backlog(100, 1);
  const auto cursor = backlog.Pin(100);
  constexpr size_t kPiece = 50'000;
  for (int i = 0; i < 2; ++i) {
    char* const at = backlog.Reserve(kPiece);
    ASSERT_NE(at, nullptr);
    std::fill(at, at + kPiece, static_cast<char>('a' + i));
    EXPECT_EQ(backlog.Reserve(kPiece), at) << "the same until it is taken";
    backlog.Advance(kPiece);
  }
  EXPECT_EQ(backlog.Reserve(kPiece), nullptr);
  EXPECT_EQ(backlog.Reserve(Backlog::kBlockSize + 1), nullptr);
  EXPECT_EQ(backlog.end(), 100 + 2 * kPiece);
  backlog.Append(std::string(kPiece, 'c'));
  ASSERT_NE(backlog.Reserve(kPiece), nullptr) << "in the next block";
  EXPECT_EQ(Read(cursor.get(), 9), std::string(kPiece, 'a') + std::string(kPiece, 'b') + std::string(kPiece, 'c'));
}

TEST(Backlog, ACursorOutlivesIt) {
  auto backlog = std::make_unique<Backlog>(5, 100);
  backlog->Append("abc");
  const auto cursor = backlog->Pin(5);
  EXPECT_FALSE(cursor->detached());
  backlog.reset();
  EXPECT_TRUE(cursor->detached());
  EXPECT_EQ(cursor->lag(), 0u);
  EXPECT_EQ(Read(cursor.get()), "");
}

TEST(Backlog, WhatIsShownStaysWhereItIsUntilItIsSkipped) {
  Backlog backlog(0, 1);
  backlog.Append(std::string(1000, 'a'));
  const auto cursor = backlog.Pin(0);
  iovec piece;
  ASSERT_EQ(cursor->Peek(&piece, 1, 1000), 1u);
  for (int i = 0; i < 100; ++i) backlog.Append(std::string(50'000, 'b'));
  EXPECT_EQ(std::string(static_cast<const char*>(piece.iov_base), piece.iov_len), std::string(1000, 'a'));
}

TEST(Backlog, DoesWhatAStringWould) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    std::mt19937_64 random(seed);
    const Lsn start = random() % 1'000'000;
    const uint64_t limit = random() % 500'000;
    Backlog backlog(start, limit);
    std::string all;
    struct Reader {
      std::unique_ptr<Backlog::Cursor> cursor;
      Lsn at;
    };
    std::vector<Reader> readers;
    for (int step = 0; step < 1000; ++step) {
      switch (random() % 5) {
        case 0:
        case 1: {
          const size_t size = random() % 8 == 0 ? random() % 200'000 : random() % 2000;
          std::string bytes(size, '\0');
          for (size_t i = 0; i < size; i += 97) bytes[i] = static_cast<char>(random());
          backlog.Append(bytes);
          all += bytes;
          break;
        }
        case 2: {
          const Lsn at = start + (all.empty() ? 0 : random() % (all.size() + 1));
          auto cursor = backlog.Pin(at);
          EXPECT_EQ(cursor != nullptr, at >= backlog.begin());
          if (cursor != nullptr && readers.size() < 4) readers.push_back({std::move(cursor), at});
          break;
        }
        case 3:
          if (!readers.empty()) readers.erase(readers.begin() + static_cast<ptrdiff_t>(random() % readers.size()));
          break;
        default:
          for (Reader& reader : readers) {
            ASSERT_EQ(reader.cursor->lsn(), reader.at);
            const std::string got = Read(reader.cursor.get(), 1 + random() % 4, random() % 300'000);
            ASSERT_EQ(got, all.substr(reader.at - start, got.size())) << "seed " << seed;
            reader.cursor->Skip(got.size());
            reader.at += got.size();
          }
      }
      ASSERT_EQ(backlog.end(), start + all.size());
      Lsn least = backlog.end() - std::min<uint64_t>(all.size(), limit);
      for (const Reader& reader : readers) least = std::min(least, reader.at);
      ASSERT_LE(backlog.begin(), least) << "seed " << seed;
      ASSERT_GT(backlog.begin() + 2 * Backlog::kBlockSize, least) << "more than it has to";
    }
  }
}

}  // namespace
}  // namespace skein::storage
