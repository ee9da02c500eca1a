#define XXH_INLINE_ALL
#include <xxhash.h>

#include <random>

#include "storage/types.h"

namespace skein::storage {
namespace {

// Random, so that nobody who picks key names can aim them at one bucket.
uint64_t RandomSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

}  // namespace

uint64_t HashKey(std::string_view bytes) {
  static const uint64_t seed = RandomSeed();
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

}  // namespace skein::storage
