#include "node/util/numbers.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace skein::node {
namespace {

// The longest text of a float that is looked at, and written: LDBL_MAX has 4933 digits.
constexpr size_t kMaxFloatText = 5 * 1024;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

bool ParseInt64(std::string_view text, int64_t* value) {
  if (text.size() == 1 && IsDigit(text[0])) {
    *value = text[0] - '0';
    return true;
  }
  const bool negative = !text.empty() && text[0] == '-';
  if (negative) text.remove_prefix(1);
  if (text.empty() || text.size() > 19 || text[0] < '1' || text[0] > '9') return false;
  uint64_t n = 0;  // 19 digits fit
  for (char c : text) {
    if (!IsDigit(c)) return false;
    n = n * 10 + static_cast<uint64_t>(c - '0');
  }
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  if (n > kMax + (negative ? 1 : 0)) return false;
  *value = static_cast<int64_t>(negative ? 0 - n : n);
  return true;
}

bool ParseUint64(std::string_view text, uint64_t* value) {
  if (text.empty() || text.size() > 64) return false;
  uint64_t n = 0;
  for (char c : text) {
    if (!IsDigit(c)) return false;
    if (__builtin_mul_overflow(n, uint64_t{10}, &n)) return false;
    if (__builtin_add_overflow(n, static_cast<uint64_t>(c - '0'), &n)) return false;
  }
  *value = n;
  return true;
}

bool ParseLongDouble(std::string_view text, long double* value) {
  if (text.empty() || text.size() >= kMaxFloatText) return false;
  if (std::isspace(static_cast<unsigned char>(text[0])) != 0) return false;
  char buffer[kMaxFloatText];
  std::memcpy(buffer, text.data(), text.size());
  buffer[text.size()] = 0;
  char* end = nullptr;
  errno = 0;
  const long double v = std::strtold(buffer, &end);
  if (end != buffer + text.size() || std::isnan(v)) return false;
  if (errno == ERANGE && (std::isinf(v) || v == 0)) return false;
  *value = v;
  return true;
}

std::string FormatLongDouble(long double value) {
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[kMaxFloatText];
  const int length = std::snprintf(buffer, sizeof(buffer), "%.17Lf", value);
  std::string text(buffer, static_cast<size_t>(length));
  const size_t last = text.find_last_not_of('0');
  text.resize(text[last] == '.' ? last : last + 1);
  return text == "-0" ? "0" : text;
}

}  // namespace skein::node
