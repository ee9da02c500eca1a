#include "storage/page_reserve.h"

#include <jemalloc/jemalloc.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "storage/memory.h"

extern "C" {
decltype(mallctl) mallctl __attribute__((weak));
}

namespace skein::storage {
namespace {

constexpr size_t kPage = 4096;

uint64_t Faults() {
  rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return static_cast<uint64_t>(usage.ru_minflt);
}

bool Always(size_t) { return true; }
bool Never(size_t) { return false; }
bool NoMemory(void*, size_t) { return false; }
bool Untouched(void*, size_t) { return true; }

TEST(AddressRanges, JoinsWhatTouches) {
  AddressRanges ranges(16);
  ranges.Add(100, 10);
  ranges.Add(120, 10);
  EXPECT_EQ(ranges.count(), 2u);
  EXPECT_EQ(ranges.Carve(16, 1), 0u) << "neither is large enough";
  ranges.Add(110, 10);
  EXPECT_EQ(ranges.count(), 1u);
  EXPECT_EQ(ranges.bytes(), 30u);
  EXPECT_EQ(ranges.Carve(30, 1), 100u);
  EXPECT_EQ(ranges.bytes(), 0u);
  EXPECT_EQ(ranges.count(), 0u);
}

TEST(AddressRanges, CarvesTheSmallestThatHolds) {
  AddressRanges ranges(16);
  ranges.Add(1000, 200);
  ranges.Add(2000, 40);
  EXPECT_EQ(ranges.Carve(32, 1), 2000u);
  EXPECT_EQ(ranges.Carve(32, 1), 1000u);
  EXPECT_EQ(ranges.bytes(), 176u);
}

TEST(AddressRanges, KeepsWhatAnAlignmentLeaves) {
  AddressRanges ranges(16);
  ranges.Add(1000, 200);
  EXPECT_EQ(ranges.Carve(64, 64), 1024u);
  EXPECT_EQ(ranges.count(), 2u);  // [1000, 1024) and [1088, 1200)
  EXPECT_EQ(ranges.bytes(), 136u);
  EXPECT_EQ(ranges.Carve(64, 512), 0u);
  ranges.Add(1024, 64);
  EXPECT_EQ(ranges.count(), 1u);
  EXPECT_EQ(ranges.bytes(), 200u);
}

TEST(PageReserve, PagesArePresentWhenTheyAreTaken) {
  if (mallctl == nullptr) GTEST_SKIP() << "sanitizers have pages of their own for each of ours";
  PageReserve reserve;
  reserve.Refill();
  ASSERT_EQ(reserve.ready(), PageReserve::kLeast);
  std::vector<char*> pieces;
  for (uint32_t i = 0; i < PageReserve::kLeast; ++i) pieces.push_back(static_cast<char*>(reserve.Take()));
  const uint64_t before = Faults();
  for (char* piece : pieces) {
    for (size_t at = 0; at < PageReserve::kPiece; at += kPage) piece[at] = 1;
  }
  EXPECT_EQ(Faults() - before, 0u);
  EXPECT_EQ(reserve.Take(), nullptr);
  EXPECT_EQ(reserve.taken(), PageReserve::kLeast);
  EXPECT_EQ(reserve.missed(), 1u);
}

TEST(PageReserve, WithoutPresentPagesTheTakerWouldPay) {
  // What the test above would see if nothing were populated.
  PageReserve reserve(Untouched, Always);
  reserve.Refill();
  auto* piece = static_cast<char*>(reserve.Take());
  const uint64_t before = Faults();
  for (size_t at = 0; at < PageReserve::kPiece; at += kPage) piece[at] = 1;
  EXPECT_GT(Faults() - before, 0u);
}

TEST(PageReserve, KeepsMoreWhileItRunsShortAndLessWhenIdle) {
  PageReserve reserve(Untouched, Always);
  reserve.Refill();
  std::vector<void*> taken;
  uint32_t wanted = reserve.wanted();
  EXPECT_EQ(wanted, PageReserve::kLeast);
  for (int round = 0; round < 10; ++round) {
    while (void* piece = reserve.Take()) taken.push_back(piece);
    reserve.Refill();
    EXPECT_EQ(reserve.wanted(), std::min(wanted * 2, PageReserve::kMost));
    EXPECT_EQ(reserve.ready(), reserve.wanted());
    wanted = reserve.wanted();
  }
  EXPECT_EQ(wanted, PageReserve::kMost);
  // A calm demand leaves it as it is.
  taken.push_back(reserve.Take());
  reserve.Refill();
  EXPECT_EQ(reserve.ready(), PageReserve::kMost);
  for (int round = 0; round < 10; ++round) reserve.Refill();
  EXPECT_EQ(reserve.wanted(), PageReserve::kLeast);
  EXPECT_EQ(reserve.ready(), PageReserve::kLeast);
  std::sort(taken.begin(), taken.end());
  EXPECT_EQ(std::unique(taken.begin(), taken.end()), taken.end()) << "a piece was given twice";
}

TEST(PageReserve, PopulatesNothingWithoutRoom) {
  PageReserve reserve(PageReserve::PopulatePages, Never);
  reserve.Refill();
  EXPECT_EQ(reserve.ready(), 0u);
  EXPECT_EQ(reserve.Take(), nullptr);
  auto* p = static_cast<char*>(reserve.Map(PageReserve::kPiece, kPage));
  ASSERT_NE(p, nullptr);
  std::memset(p, 1, PageReserve::kPiece);
}

TEST(PageReserve, GoesOnWithoutWhenTheSystemHasNoMemory) {
  PageReserve reserve(NoMemory, Always);
  reserve.Refill();
  EXPECT_EQ(reserve.ready(), 0u);
  const uint64_t unused = reserve.unused_address_bytes();
  EXPECT_GT(unused, 0u);
  reserve.Refill();
  EXPECT_EQ(reserve.unused_address_bytes(), unused) << "addresses were lost";
}

TEST(PageReserve, ReturnedAddressesAreUsedAgainAndHoldZeroes) {
  PageReserve reserve(PageReserve::PopulatePages, Always);
  reserve.Refill();
  auto* piece = static_cast<char*>(reserve.Take());
  std::memset(piece, 1, PageReserve::kPiece);
  const uint64_t unused = reserve.unused_address_bytes();
  ASSERT_TRUE(reserve.Return(piece, PageReserve::kPiece));
  EXPECT_EQ(reserve.unused_address_bytes(), unused + PageReserve::kPiece);
  std::vector<void*> others;
  bool again = false;
  // The smallest range that holds a piece comes first, so the region that is left is not begun before.
  for (int i = 0; i < 2; ++i) {
    void* p = reserve.Map(PageReserve::kPiece, kPage);
    again = again || p == piece;
  }
  EXPECT_TRUE(again);
  EXPECT_TRUE(std::all_of(piece, piece + PageReserve::kPiece, [](char c) { return c == 0; }));
}

TEST(PageReserve, MapsLargeAndAligned) {
  PageReserve reserve(Untouched, Always);
  for (const size_t alignment : {kPage, size_t{2} << 20, size_t{64} << 20}) {
    for (const size_t size : {kPage, size_t{5} << 20, size_t{100} << 20}) {
      void* const p = reserve.Map(size, alignment);
      ASSERT_NE(p, nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % alignment, 0u);
      static_cast<char*>(p)[0] = 1;
      static_cast<char*>(p)[size - 1] = 1;
      EXPECT_TRUE(reserve.Return(p, size));
    }
  }
}

TEST(PageReserve, RefusalOfTheSystemChangesNothing) {
  if (mallctl == nullptr) GTEST_SKIP() << "sanitizers lock no page";
  PageReserve reserve(Untouched, Always);
  char* const p = static_cast<char*>(reserve.Map(PageReserve::kPiece, kPage));
  if (mlock(p, kPage) != 0) GTEST_SKIP() << "no page may be locked here";
  const uint64_t unused = reserve.unused_address_bytes();
  EXPECT_FALSE(reserve.Return(p, PageReserve::kPiece));
  EXPECT_EQ(reserve.unused_address_bytes(), unused);
  munlock(p, kPage);
}

TEST(PageReserve, ManyThreadsTakeEachPieceOnce) {
  PageReserve reserve(Untouched, Always);
  reserve.Start();
  constexpr size_t kThreads = 4, kEach = 300;
  std::vector<std::vector<void*>> taken(kThreads);
  std::vector<std::thread> threads;
  for (auto& mine : taken) {
    threads.emplace_back([&] {
      while (mine.size() < kEach) {
        if (void* piece = reserve.Take()) {
          static_cast<char*>(piece)[0] = 1;
          mine.push_back(piece);
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  std::vector<void*> all;
  for (const auto& mine : taken) all.insert(all.end(), mine.begin(), mine.end());
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::unique(all.begin(), all.end()), all.end());
  EXPECT_LE(reserve.ready(), PageReserve::kMost);
}

// ---- The allocator on top ------------------------------------------------------------------------------------------

class ReservedMemory : public testing::Test {
 protected:
  void SetUp() override {
    if (mallctl == nullptr) {
      EXPECT_FALSE(AllocateFromReserve(0));
      GTEST_SKIP() << "jemalloc is not linked";
    }
  }
  // Until the reserve has what a burst of `bytes` takes.
  static void Await(size_t bytes) {
    while (ReadReserve().ready < bytes / PageReserve::kPiece) std::this_thread::yield();
  }
};

TEST_F(ReservedMemory, AllocationsTakeNoPageFaults) {
  std::thread([] {
    ASSERT_TRUE(AllocateFromReserve(1));
    std::vector<void*> kept;
    kept.reserve(1 << 20);
    std::memset(kept.data(), 0, kept.capacity() * sizeof(void*));
    const auto allocate = [&](size_t bytes) {
      const uint64_t before = Faults();
      for (size_t at = 0; at < bytes; at += 64) {
        kept.push_back(Allocate(64));
        *static_cast<char*>(kept.back()) = 1;
      }
      return Faults() - before;
    };
    allocate(4 << 20);  // the first extent comes without pages, as does what the allocator keeps for itself
    uint64_t faults = 0;
    for (int i = 0; i < 16; ++i) {
      Await(1 << 20);
      faults += allocate(1 << 20);
    }
    // Of 4096 pages. What is left are those of the allocator's own notes.
    EXPECT_LT(faults, 4096u / 10);
    for (void* p : kept) std::free(p);
  }).join();
}

TEST_F(ReservedMemory, FreedPagesGoBackThroughTheReserve) {
  std::thread([] {
    ASSERT_TRUE(AllocateFromReserve(2));
    std::vector<void*> kept;
    for (int i = 0; i < 100'000; ++i) kept.push_back(Allocate(64));
    for (void* p : kept) std::free(p);
    const uint64_t unused = ReadReserve().unused_address_bytes;
    ASSERT_EQ(mallctl("thread.tcache.flush", nullptr, nullptr, nullptr, 0), 0);
    ASSERT_EQ(mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0), 0);
    EXPECT_GT(ReadReserve().unused_address_bytes, unused + (1 << 20));
  }).join();
}

TEST_F(ReservedMemory, IndexesAreFew) { EXPECT_FALSE(AllocateFromReserve(kMaxReservedParts)); }

}  // namespace
}  // namespace skein::storage
