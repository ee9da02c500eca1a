#include "node/util/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "gtest/gtest.h"

namespace skein::node {
namespace {

TEST(Address, OfEachFamilyInWords) {
  sockaddr_storage address{};
  auto& four = reinterpret_cast<sockaddr_in&>(address);
  four.sin_family = AF_INET;
  four.sin_port = htons(6379);
  ASSERT_EQ(1, inet_pton(AF_INET, "192.0.2.7", &four.sin_addr));
  EXPECT_EQ("192.0.2.7:6379", AddressText(address));

  address = {};
  auto& six = reinterpret_cast<sockaddr_in6&>(address);
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(16379);
  ASSERT_EQ(1, inet_pton(AF_INET6, "2001:db8::7", &six.sin6_addr));
  EXPECT_EQ("[2001:db8::7]:16379", AddressText(address));

  address = {};
  EXPECT_EQ("?:0", AddressText(address));
  address.ss_family = AF_UNIX;
  EXPECT_EQ("?:0", AddressText(address));
}

}  // namespace
}  // namespace skein::node
