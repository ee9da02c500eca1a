// How an effect is written: RESP arrays of bulk strings (storage/FORMAT.md), put where there is room for them.
#ifndef SKEIN_STORAGE_EFFECT_TEXT_H_
#define SKEIN_STORAGE_EFFECT_TEXT_H_

#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <string_view>

namespace skein::storage {

// The most that '*' or '$', a 64-bit number and two line ends take.
inline constexpr size_t kEffectFrame = 32;

inline char* PutNumber(char* out, char sign, size_t number) {
  if (number < 10) {
    const char text[4] = {sign, static_cast<char>('0' + number), '\r', '\n'};
    std::memcpy(out, text, sizeof(text));
    return out + sizeof(text);
  }
  *out++ = sign;
  if (number < 100) {
    const char text[4] = {static_cast<char>('0' + number / 10), static_cast<char>('0' + number % 10), '\r', '\n'};
    std::memcpy(out, text, sizeof(text));
    return out + sizeof(text);
  }
  char digits[20];
  size_t count = 0;
  for (; number > 0; number /= 10) digits[count++] = static_cast<char>('0' + number % 10);
  while (count > 0) *out++ = digits[--count];
  *out++ = '\r';
  *out++ = '\n';
  return out;
}

// memcpy whose calls are worth avoiding: most arguments are short.
inline char* PutBytes(char* out, std::string_view bytes) {
  const char* const from = bytes.data();
  const size_t n = bytes.size();
  if (n > 16) {
    std::memcpy(out, from, n);
  } else if (n >= 8) {
    std::memcpy(out, from, 8);
    std::memcpy(out + n - 8, from + n - 8, 8);
  } else if (n >= 4) {
    std::memcpy(out, from, 4);
    std::memcpy(out + n - 4, from + n - 4, 4);
  } else {
    for (size_t i = 0; i < n; ++i) out[i] = from[i];
  }
  return out + n;
}

// Room that PutEffect needs, or more.
inline size_t EffectBound(std::initializer_list<std::string_view> argv) {
  size_t bound = kEffectFrame;
  for (const std::string_view arg : argv) bound += kEffectFrame + arg.size();
  return bound;
}

inline char* PutEffect(char* at, std::initializer_list<std::string_view> argv) {
  at = PutNumber(at, '*', argv.size());
  for (const std::string_view arg : argv) {
    at = PutNumber(at, '$', arg.size());
    at = PutBytes(at, arg);
    *at++ = '\r';
    *at++ = '\n';
  }
  return at;
}

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_EFFECT_TEXT_H_
