#include "storage/place_index.h"

#include "gtest/gtest.h"

namespace skein::storage {
namespace {

TEST(PlaceIndex, FindsTheLastPlaceOfTheFileBeforeAnLsn) {
  PlaceIndex index(100, 10);
  index.Note({.lsn = 0, .offset = 100, .salt = 1});
  index.Note({.lsn = 9, .offset = 109, .salt = 1});  // too near
  index.Note({.lsn = 12, .offset = 112, .salt = 1});
  index.Note({.lsn = 13, .offset = 60, .salt = 2});  // of another file, however near
  EXPECT_EQ(index.size(), 3u);
  EXPECT_EQ(index.Find(1, 11)->offset, 100u);
  EXPECT_EQ(index.Find(1, 12)->offset, 112u);
  EXPECT_EQ(index.Find(1, 1000)->offset, 112u);
  EXPECT_EQ(index.Find(2, 1000)->offset, 60u);
  EXPECT_FALSE(index.Find(2, 12).has_value());
  EXPECT_FALSE(index.Find(3, 1000).has_value());
  index.Clear();
  EXPECT_FALSE(index.Find(1, 1000).has_value());
}

TEST(PlaceIndex, StaysSmallAndThinsOutEvenly) {
  constexpr size_t kMost = 16;
  PlaceIndex index(kMost, 1);
  constexpr Lsn kEnd = 1000;
  for (Lsn lsn = 0; lsn < kEnd; ++lsn) {
    index.Note({.lsn = lsn, .offset = lsn + 40, .salt = 7});
    ASSERT_LE(index.size(), kMost);
  }
  EXPECT_GE(index.size(), kMost / 2);
  for (Lsn lsn = kEnd / 4; lsn < kEnd; ++lsn) {
    const auto place = index.Find(7, lsn);
    ASSERT_TRUE(place.has_value());
    ASSERT_EQ(place->offset, place->lsn + 40);
    ASSERT_LE(lsn - place->lsn, 2 * kEnd / (kMost / 2)) << lsn;
  }
}

// As rewrites remove files for ever: what is left is found as exactly as at first.
TEST(PlaceIndex, DoesNotGetCoarserWithWhatIsForgotten) {
  constexpr size_t kMost = 16;
  PlaceIndex index(kMost, 1);
  constexpr Lsn kFile = 12;
  Lsn lsn = 0;
  for (uint64_t file = 1; file <= 200; ++file) {
    for (const Lsn end = lsn + kFile; lsn < end; ++lsn) index.Note({.lsn = lsn, .offset = 40, .salt = file});
    index.Forget(lsn - kFile);
  }
  EXPECT_FALSE(index.Find(199, lsn).has_value());
  EXPECT_GE(index.size(), kFile / 2);
}

}  // namespace
}  // namespace skein::storage
