#include "storage/digest.h"

#include <functional>
#include <string>

#include "gtest/gtest.h"
#include "storage/flows_testing.h"
#include "storage/slot.h"

namespace skein::storage {
namespace {

TEST(Digest, SeesEveryDifferenceAndNoOrder) {
  Shard a({0, 1, 4}, nullptr), b({0, 1, 4}, nullptr);
  EXPECT_EQ(DigestOf(a), Digest());
  EXPECT_EQ(Digest().Hex(), std::string(40, '0'));
  const auto fill = [](Shard* shard, bool backwards) {
    shard->Begin(1000);
    for (int i = 0; i < 500; ++i) {
      const int n = backwards ? 499 - i : i;
      shard->SetString(static_cast<uint32_t>(n % 3), Key(Name(n)), std::to_string(n), n % 7 == 0 ? 5000 + n : kNoExpiry,
                       "set");
    }
    shard->End();
  };
  fill(&a, false);
  fill(&b, true);
  const Digest same = DigestOf(a);
  EXPECT_EQ(DigestOf(b), same);
  EXPECT_EQ(same.Hex().size(), 40u);
  Digest slots;
  for (uint32_t slot = 0; slot < kSlots; ++slot) slots ^= DigestOfSlot(a, static_cast<uint16_t>(slot));
  EXPECT_EQ(slots, same);
  const auto differs = [&](const std::function<void(Shard&)>& change) {
    Shard c({0, 1, 4}, nullptr);
    fill(&c, false);
    c.Begin(1000);
    change(c);
    c.End();
    return DigestOf(c) != same;
  };
  EXPECT_FALSE(differs([](Shard& s) { s.SetString(1, Key(Name(1)), "1", kNoExpiry, "set"); }));
  EXPECT_TRUE(differs([](Shard& s) { s.SetString(1, Key(Name(1)), "01", kNoExpiry, "set"); })) << "value";
  EXPECT_TRUE(differs([](Shard& s) { s.SetExpiry(1, Key(Name(1)), 9999); })) << "expiry";
  EXPECT_TRUE(differs([](Shard& s) { s.Rename(1, Key(Name(1)), Key("other")); })) << "key";
  EXPECT_TRUE(differs([](Shard& s) { s.Move(1, Key(Name(1)), 3); })) << "database";
  EXPECT_TRUE(differs([](Shard& s) { s.Delete(1, Key(Name(1)), "del", false); })) << "one less";
}

}  // namespace
}  // namespace skein::storage
