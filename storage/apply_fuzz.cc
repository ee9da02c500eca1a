// Any bytes as the body of a record: applied whole, or refused with nothing applied.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "storage/shard.h"
#include "storage/shard_testing.h"

namespace skein::storage {
namespace {

// An offset may ask for gigabytes, which the format allows and a fuzzer's memory does not.
bool AsksForMuch(std::string_view body) {
  if (body.find("SETRANGE") == std::string_view::npos) return false;
  size_t digits = 0;
  for (const char c : body) {
    digits = c >= '0' && c <= '9' ? digits + 1 : 0;
    if (digits > 6) return true;
  }
  return false;
}

}  // namespace
}  // namespace skein::storage

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skein::storage;  // NOLINT: the whole file is about it
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  if (AsksForMuch(body)) return -1;
  Shard shard({0, 1, 2}, nullptr);
  const bool ok = shard.ApplyRecord(0, 1'700'000'000'000, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n").ok();
  if (!ok) std::abort();
  const Picture before = PictureOf(shard);
  if (!shard.ApplyRecord(0, 1'700'000'000'001, body).ok() && PictureOf(shard) != before) std::abort();
  return 0;
}
