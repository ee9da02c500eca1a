#include "storage/rdb/lzf.h"

#include <algorithm>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace skein::storage {
namespace {

// Compressed into as much room as it might need.
std::string Compressed(LzfCompressor* compressor, std::string_view in) {
  std::string out(in.size() + in.size() / 32 + 1, '\0');
  out.resize(compressor->Compress(in, out.data(), out.size()));
  return out;
}

void ExpectRoundTrip(LzfCompressor* compressor, const std::string& in) {
  const std::string compressed = Compressed(compressor, in);
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
  EXPECT_EQ(compressor->Compress(in, out.data(), compressed.size() - 1), 0u);
}

TEST(Lzf, MakesBackWhatItWasGiven) {
  LzfCompressor compressor;
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
    ExpectRoundTrip(&compressor, in);
  }
}

TEST(Lzf, HandlesTheSmallAndTheUniform) {
  LzfCompressor compressor;
  for (size_t size = 1; size < 600; ++size) ExpectRoundTrip(&compressor, std::string(size, 'a'));
  for (size_t size = 1; size < 70; ++size) {
    std::string in(size, '\0');
    for (size_t i = 0; i < size; ++i) in[i] = static_cast<char>(i);
    ExpectRoundTrip(&compressor, in);
  }
}

TEST(Lzf, ReachesAsFarBackAsTheFormat) {
  LzfCompressor compressor;
  std::mt19937_64 random(1);
  for (const size_t distance : {8191, 8192, 8193}) {
    const std::string start = "twelve bytes";
    std::string in = start;
    while (in.size() < distance) in += static_cast<char>(random());
    in += start;
    const size_t with = Compressed(&compressor, in).size();
    // Found up to 8192 bytes back, and no farther; noise costs a byte in 32.
    const bool found = with < in.size() + in.size() / 32 - 5;
    EXPECT_EQ(found, distance <= 8192) << distance;
    ExpectRoundTrip(&compressor, in);
  }
}

// Whatever was compressed before has no influence.
TEST(Lzf, DependsOnTheInputAlone) {
  LzfCompressor fresh;
  LzfCompressor used;
  for (int i = 0; i < 100; ++i) Compressed(&used, std::string(static_cast<size_t>(i) * 37 + 1, static_cast<char>(i)));
  const std::string in = "abcabcabcabc and so on, abcabcabcabc and so on, abcabc";
  EXPECT_EQ(Compressed(&fresh, in), Compressed(&used, in));
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
