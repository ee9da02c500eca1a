#include "storage/back_off.h"

#include "gtest/gtest.h"

namespace skein::storage {
namespace {

using std::chrono::milliseconds;

TEST(BackOff, WaitsTwiceAsLongEachTimeUntilItWorks) {
  BackOff back_off;
  BackOff::Clock::time_point now{};
  EXPECT_TRUE(back_off.Over(now));
  for (const int wait : {100, 200, 400, 500, 500}) {
    back_off.Failed(milliseconds(100), milliseconds(500), now);
    EXPECT_FALSE(back_off.Over(now + milliseconds(wait - 1))) << wait;
    now += milliseconds(wait);
    EXPECT_TRUE(back_off.Over(now)) << wait;
  }
  back_off.Worked();
  EXPECT_TRUE(back_off.Over(now));
  back_off.Failed(milliseconds(100), milliseconds(500), now);
  EXPECT_TRUE(back_off.Over(now + milliseconds(100))) << "from the first wait again";
}

}  // namespace
}  // namespace skein::storage
