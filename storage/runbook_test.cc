#include "storage/runbook.h"

#include "gtest/gtest.h"

namespace skein::storage {
namespace {

TEST(Runbook, L46_names_the_page) { EXPECT_EQ(SeeRunbook("torn-tail"), "; see ops/runbooks/torn-tail.md"); }

}  // namespace
}  // namespace skein::storage
