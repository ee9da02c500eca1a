#include "storage/rdb/lzf.h"

#include <liblzf/lzf.h>

#include <limits>

namespace skein::storage {
namespace {

// The library counts in unsigned int.
constexpr size_t kMost = std::numeric_limits<unsigned int>::max();

}  // namespace

size_t LzfCompress(std::string_view in, char* out, size_t room) {
  if (in.size() > kMost || room > kMost) return 0;
  return lzf_compress(in.data(), static_cast<unsigned int>(in.size()), out, static_cast<unsigned int>(room));
}

bool LzfPlausible(uint64_t compressed, uint64_t size) {
  constexpr uint64_t kMostForAByte = 264 / 3;
  return compressed > 0 && size > 0 && (size - 1) / kMostForAByte < compressed;
}

bool LzfDecompress(std::string_view in, char* out, size_t size) {
  if (in.empty() || size == 0 || in.size() > kMost || size > kMost) return false;
  return lzf_decompress(in.data(), static_cast<unsigned int>(in.size()), out, static_cast<unsigned int>(size)) == size;
}

}  // namespace skein::storage
