#include "storage/rdb/lzf.h"

#include <liblzf/lzf.h>

#include <limits>

namespace skein::storage {
namespace {

constexpr uint64_t kMaxSize = std::numeric_limits<unsigned int>::max();

}  // namespace

size_t LzfCompress(std::string_view in, char* out, size_t room) {
  if (in.size() > kMaxSize || room == 0) return 0;
  return lzf_compress(in.data(), static_cast<unsigned int>(in.size()), out, static_cast<unsigned int>(room));
}

bool LzfPlausible(uint64_t compressed, uint64_t size) {
  constexpr uint64_t kMostPerByte = 264 / 3;
  return compressed > 0 && size > 0 && size <= kMaxSize && compressed <= kMaxSize && size / kMostPerByte <= compressed;
}

bool LzfDecompress(std::string_view in, char* out, size_t size) {
  if (in.empty() || size == 0 || in.size() > kMaxSize || size > kMaxSize) return false;
  return lzf_decompress(in.data(), static_cast<unsigned int>(in.size()), out, static_cast<unsigned int>(size)) == size;
}

}  // namespace skein::storage
