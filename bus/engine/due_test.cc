#include "bus/engine/due.h"

#include <gtest/gtest.h>

#include <vector>

namespace skein::bus {
namespace {

std::vector<uint16_t> Take(Dues* dues, int64_t now) {
  std::vector<uint16_t> places;
  dues->Take(now, [&](uint16_t place) { places.push_back(place); });
  return places;
}

TEST(Dues, WhatIsNewIsDueAtOnceAndWhatWasTakenNotAgain) {
  Dues dues;
  dues.SetWidth(10);
  dues.Add(0);
  dues.Add(1);
  EXPECT_EQ(Take(&dues, 1000000), (std::vector<uint16_t>{0, 1}));
  EXPECT_TRUE(Take(&dues, 1000000 + 100000).empty());
}

TEST(Dues, IsNotEarlyAndAtMostAWidthLate) {
  for (int64_t at = 1000; at < 1100; ++at) {
    Dues dues;
    dues.SetWidth(10);
    dues.Add(0);
    Take(&dues, 1000);
    dues.Set(0, at);
    int64_t now = 1000;
    while (Take(&dues, now).empty()) ++now;
    EXPECT_GT(now, at);
    EXPECT_LE(now, at + 10);
  }
}

TEST(Dues, SetAnewCountsAloneAndHastenOnlyHastens) {
  Dues dues;
  dues.SetWidth(10);
  dues.Add(0);
  Take(&dues, 1000);
  dues.Set(0, 1050);
  dues.Set(0, 1150);
  EXPECT_TRUE(Take(&dues, 1100).empty());
  dues.Hasten(0, 1300);
  dues.Hasten(0, 1120);
  EXPECT_EQ(Take(&dues, 1130).size(), 1u);
  EXPECT_TRUE(Take(&dues, 2000).empty());
}

TEST(Dues, NothingIsLostOverAGapOrInALook) {
  Dues dues;
  dues.SetWidth(1);
  for (uint16_t p = 0; p < 100; ++p) dues.Add(p);
  int64_t now = 5000;
  for (int round = 0; round < 50; ++round) {
    size_t looked = 0;
    dues.Take(now, [&](uint16_t place) {
      ++looked;
      dues.Set(place, now + place * 3);  // some of it further ahead than the wheel is long
    });
    EXPECT_EQ(looked, 100u) << round;
    now += 1000;
  }
}

TEST(Dues, AnotherWidthLosesNothing) {
  Dues dues;
  dues.SetWidth(10);
  dues.Add(0);
  Take(&dues, 1000);
  dues.Set(0, 1900);
  dues.SetWidth(7);
  EXPECT_EQ(Take(&dues, 2000).size(), 1u);
}

}  // namespace
}  // namespace skein::bus
