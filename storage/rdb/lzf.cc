#include "storage/rdb/lzf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

namespace skein::storage {
namespace {

constexpr size_t kMostLiterals = 32;
constexpr size_t kLeastCopy = 3;
constexpr size_t kMostCopy = 264;
constexpr size_t kFarthest = 8192;

uint32_t Load32(const char* at) {
  uint32_t v;
  std::memcpy(&v, at, sizeof(v));
  return v;
}

uint64_t Load64(const char* at) {
  uint64_t v;
  std::memcpy(&v, at, sizeof(v));
  return v;
}

// Three bytes, from a place where four can be read.
uint32_t Three(const char* at) {
  static_assert(std::endian::native == std::endian::little);
  return Load32(at) & 0xffffff;
}

// How many bytes are the same at `a` and `b`, which is behind it; neither is read from `end` on.
size_t SameBytes(const char* a, const char* b, const char* end) {
  const char* const start = b;
  while (end - b >= 8) {
    const uint64_t differing = Load64(a) ^ Load64(b);
    if (differing != 0) return static_cast<size_t>(b - start) + static_cast<size_t>(std::countr_zero(differing) / 8);
    a += 8;
    b += 8;
  }
  while (b < end && *a == *b) {
    ++a;
    ++b;
  }
  return static_cast<size_t>(b - start);
}

// Writes pieces, as long as there is room.
class PieceWriter {
 public:
  PieceWriter(char* out, size_t room) : start_(out), at_(out), end_(out + room) {}

  size_t size() const { return static_cast<size_t>(at_ - start_); }
  bool Literals(const char* from, size_t count) {
    while (count != 0) {
      const size_t n = std::min(count, kMostLiterals);
      if (static_cast<size_t>(end_ - at_) < n + 1) return false;
      *at_++ = static_cast<char>(n - 1);
      std::memcpy(at_, from, n);
      at_ += n;
      from += n;
      count -= n;
    }
    return true;
  }
  bool Copy(size_t back, size_t size) {
    if (end_ - at_ < 3) return false;
    const size_t far = back - 1;
    const size_t kind = std::min<size_t>(size - 2, 7);
    *at_++ = static_cast<char>(kind << 5 | far >> 8);
    if (kind == 7) *at_++ = static_cast<char>(size - 2 - 7);
    *at_++ = static_cast<char>(far);
    return true;
  }

 private:
  char* const start_;
  char* at_;
  char* const end_;
};

}  // namespace

size_t LzfCompressor::Compress(std::string_view in, char* out, size_t room) {
  constexpr int kLeastBits = 8, kMostBits = 14;
  // Bytes without a copy after which every second position is tried, and so on up to every eighth.
  constexpr int kPatienceBits = 5;
  constexpr ptrdiff_t kMostSkipped = 7;
  if (in.size() > std::numeric_limits<uint32_t>::max() / 2) return 0;
  // A small input needs, and warms, a small part of the table.
  const int bits = std::clamp(static_cast<int>(std::bit_width(in.size())) + 1, kLeastBits, kMostBits);
  if (seen_.size() < size_t{1} << bits) seen_.resize(size_t{1} << bits);
  if (base_ > std::numeric_limits<uint32_t>::max() - in.size()) {
    std::fill(seen_.begin(), seen_.end(), 0);
    base_ = 1;
  }
  uint32_t* const seen = seen_.data();
  const uint32_t base = base_;
  base_ += static_cast<uint32_t>(in.size());
  const auto slot = [seen, bits](uint32_t three) { return seen + (three * 0x9e3779b1u >> (32 - bits)); };

  PieceWriter writer(out, room);
  const char* const start = in.data();
  const char* const end = start + in.size();
  const char* literals = start;  // what has not been written yet
  const char* at = start;
  while (end - at >= 4) {
    const uint32_t three = Three(at);
    uint32_t* const last = slot(three);
    const uint32_t position = *last;
    const auto here = static_cast<uint32_t>(at - start);
    *last = base + here;
    const char* before = position < base ? nullptr : start + (position - base);
    if (before == nullptr || static_cast<size_t>(at - before) > kFarthest || Three(before) != three) {
      at += 1 + std::min((at - literals) >> kPatienceBits, kMostSkipped);
      continue;
    }
    // It may have begun where nothing was tried.
    while (at > literals && before > start && at[-1] == before[-1]) {
      --at;
      --before;
    }
    const char* const limit = std::min(end, at + std::min<ptrdiff_t>(kMostCopy, end - at));
    const size_t size = kLeastCopy + SameBytes(before + kLeastCopy, at + kLeastCopy, limit);
    if (!writer.Literals(literals, static_cast<size_t>(at - literals)) ||
        !writer.Copy(static_cast<size_t>(at - before), size)) {
      return 0;
    }
    at += size;
    literals = at;
    // The end of a copy is where the next one is likely to begin.
    if (end - at >= 3) *slot(Three(at - 1)) = base + static_cast<uint32_t>(at - 1 - start);
  }
  return writer.Literals(literals, static_cast<size_t>(end - literals)) ? writer.size() : 0;
}

bool LzfPlausible(uint64_t compressed, uint64_t size) {
  return compressed > 0 && size > 0 && (size - 1) / (kMostCopy / 3) < compressed;
}

bool LzfDecompress(std::string_view in, char* out, size_t size) {
  const auto* at = reinterpret_cast<const unsigned char*>(in.data());
  const unsigned char* const end = at + in.size();
  char* const start = out;
  char* const full = out + size;
  while (at < end) {
    const size_t head = *at++;
    if (head < kMostLiterals) {
      const size_t count = head + 1;
      if (count > static_cast<size_t>(end - at) || count > static_cast<size_t>(full - out)) return false;
      std::memcpy(out, at, count);
      at += count;
      out += count;
      continue;
    }
    size_t count = (head >> 5) + 2;
    if (static_cast<size_t>(end - at) < (count == 9 ? 2u : 1u)) return false;
    if (count == 9) count += *at++;
    const size_t back = ((head & 31) << 8 | *at++) + 1;
    if (back > static_cast<size_t>(out - start) || count > static_cast<size_t>(full - out)) return false;
    if (back >= count) {
      std::memcpy(out, out - back, count);
      out += count;
    } else if (back == 1) {
      std::memset(out, out[-1], count);
      out += count;
    } else {
      for (; count != 0; --count, ++out) *out = *(out - back);
    }
  }
  return out == full;
}

}  // namespace skein::storage
