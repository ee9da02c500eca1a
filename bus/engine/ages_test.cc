#include "bus/engine/ages.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace skein::bus {
namespace {

// One by one, as it is meant.
int64_t AgeOf(int64_t heard, int64_t now, int64_t unit) {
  const int64_t age = std::max<int64_t>(0, now - heard);
  return std::min(kAgeOld, age / unit + (age % unit != 0));
}

int64_t Said(const std::string& ages, size_t i) { return static_cast<uint8_t>(ages[i / 2]) >> (i % 2 * 4) & 15; }

TEST(Ages, AreRoundedUpAndHaveAnEnd) {
  for (const int64_t unit : {1, 2, 42, 209, 625, 16000}) {
    for (const int64_t now : {int64_t{0}, int64_t{1} << 40}) {
      std::vector<int64_t> heard = {INT64_MIN / 2, now - 16 * unit, now + 1, now + 1000};
      for (int64_t age = 0; age <= 15; ++age) {
        for (const int64_t off : {-1, 0, 1}) heard.push_back(now - age * unit + off);
      }
      std::string ages((heard.size() + 1) / 2, '\0');
      WriteAges(heard.data(), heard.size(), now, unit, 0, ages.data());
      for (size_t i = 0; i < heard.size(); ++i) {
        EXPECT_EQ(Said(ages, i), AgeOf(heard[i], now, unit)) << now - heard[i] << " ms in units of " << unit;
      }
    }
  }
}

TEST(Ages, OfHugeUnitsNobodyIsTakenForFresher) {
  for (const int64_t unit : {16385, 1'000'000, 280'000'000}) {
    std::vector<int64_t> heard;
    for (int64_t age = 0; age <= 16; ++age) heard.push_back(-age * unit);
    std::string ages((heard.size() + 1) / 2, '\0');
    WriteAges(heard.data(), heard.size(), 0, unit, 0, ages.data());
    for (size_t i = 0; i < heard.size(); ++i) {
      const int64_t age = AgeOf(heard[i], 0, unit);
      EXPECT_GE(Said(ages, i), age) << unit;
      EXPECT_LE(Said(ages, i), std::min(kAgeOld, age + 1)) << unit;
    }
  }
}

// A view may end in the middle of a byte, and go on at the other end of the members there.
TEST(Ages, InTwoPartsAreThoseOfOne) {
  constexpr int64_t kNow = 100000, kUnit = 100;
  for (size_t count = 1; count <= 9; ++count) {
    std::vector<int64_t> heard(count);
    for (size_t i = 0; i < count; ++i) heard[i] = kNow - static_cast<int64_t>(i) * 150;
    for (size_t first = 0; first <= count; ++first) {
      std::string ages((count + 1) / 2, '\0');
      WriteAges(heard.data(), first, kNow, kUnit, 0, ages.data());
      WriteAges(heard.data() + first, count - first, kNow, kUnit, first, ages.data());
      for (size_t i = 0; i < count; ++i) ASSERT_EQ(Said(ages, i), AgeOf(heard[i], kNow, kUnit)) << count << first;
      if (count % 2 != 0) {
        EXPECT_EQ(static_cast<uint8_t>(ages.back()) >> 4, 0);
      }

      const AgeTimes times = TimesOfAges(kNow + 1000, kUnit);
      std::vector<int64_t> known(count + 1, kNow);  // one more: whom the view does not tell of
      ReadAges(times, ages.data(), 0, first, known.data());
      ReadAges(times, ages.data(), first, count - first, known.data() + first);
      for (size_t i = 0; i < count; ++i) {
        ASSERT_EQ(known[i], std::max(kNow, kNow + 1000 - AgeOf(heard[i], kNow, kUnit) * kUnit)) << count << first;
      }
      ASSERT_EQ(known[count], kNow);
    }
  }
}

TEST(Ages, TheOldestSayNothing) {
  std::vector<int64_t> known = {-5, 7};
  const char ages = static_cast<char>(0xFF);
  ReadAges(TimesOfAges(1000, 10), &ages, 0, 2, known.data());
  EXPECT_EQ(known, (std::vector<int64_t>{-5, 7}));
}

}  // namespace
}  // namespace skein::bus
