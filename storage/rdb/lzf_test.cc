#include "storage/rdb/lzf.h"

#include <algorithm>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace skein::storage {
namespace {

// Compressed into as much room as it might need.
std::string Compressed(std::string_view in) {
  std::string out(in.size() + in.size() / 16 + 64, '\0');
  out.resize(LzfCompress(in, out.data(), out.size()));
  return out;
}

void ExpectRoundTrip(const std::string& in) {
  const std::string compressed = Compressed(in);
  ASSERT_FALSE(compressed.empty());
  EXPECT_TRUE(LzfPlausible(compressed.size(), in.size()));
  std::string out(in.size(), '?');
  ASSERT_TRUE(LzfDecompress(compressed, out.data(), out.size()));
  EXPECT_TRUE(out == in) << in.size();
  // No other size is what it holds.
  EXPECT_FALSE(LzfDecompress(compressed, out.data(), out.size() - 1));
  out.resize(out.size() + 1);
  EXPECT_FALSE(LzfDecompress(compressed, out.data(), out.size()));
  // With a byte less there is no room.
  EXPECT_EQ(LzfCompress(in, out.data(), compressed.size() - 1), 0u);
}

TEST(Lzf, MakesBackWhatItWasGiven) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 300; ++round) {
    // Random pieces, then repetitions of what has been, near and far.
    std::string in;
    const size_t size = 1 + random() % (round % 10 == 0 ? 60'000 : 300);
    while (in.size() < size) {
      if (in.empty() || random() % 3 == 0) {
        for (uint64_t n = random() % 40; n != 0; --n) in += static_cast<char>(random() % (1 + random() % 256));
        in += 'x';
      } else {
        const size_t back = 1 + random() % std::min<size_t>(in.size(), 12'000);
        const size_t count = 1 + random() % 600;
        for (size_t i = 0; i < count; ++i) in += in[in.size() - back];
      }
    }
    ExpectRoundTrip(in);
  }
}

TEST(Lzf, HandlesTheSmallAndTheUniform) {
  for (size_t size = 1; size < 600; ++size) ExpectRoundTrip(std::string(size, 'a'));
  for (size_t size = 1; size < 70; ++size) {
    std::string in(size, '\0');
    for (size_t i = 0; i < size; ++i) in[i] = static_cast<char>(i);
    ExpectRoundTrip(in);
  }
}

TEST(Lzf, RefusesWhatIsDamaged) {
  const std::string_view damaged[] = {
      {"\x05"
       "ab",
       3},              // fewer literals than it says
      {"\x20\x00", 2},  // a copy of nothing
      {"\0a\x20", 3},   // a copy from nowhere
      {"\0a\xe0", 3},   // the same, long
      {"\0a\xe0\x01", 4},
      {"\0a\x20\x01", 4},  // from before the beginning
  };
  for (const std::string_view in : damaged) {
    for (size_t size = 1; size < 20; ++size) {
      std::string out(size, '\0');
      EXPECT_FALSE(LzfDecompress(in, out.data(), size)) << in.size();
    }
  }
  char out[10];
  EXPECT_TRUE(LzfDecompress(std::string_view("\0a\x20\x00", 4), out, 4));
  EXPECT_EQ(std::string_view(out, 4), "aaaa");
  EXPECT_FALSE(LzfPlausible(0, 0));
  EXPECT_FALSE(LzfPlausible(3, 3 * 89));
  EXPECT_TRUE(LzfPlausible(3, 264));
}

}  // namespace
}  // namespace skein::storage
