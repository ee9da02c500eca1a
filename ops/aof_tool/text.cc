#include "ops/aof_tool/text.h"

#include <charconv>
#include <chrono>
#include <cstdio>

namespace skein::ops {

using storage::UnixMillis;

namespace {

constexpr UnixMillis kSecond = 1000;
constexpr UnixMillis kDay = 24 * 60 * 60 * kSecond;
// A number below this is seconds: milliseconds below it were before March 1973.
constexpr uint64_t kFirstMillis = 100'000'000'000;

// Takes `digits` digits off the front.
bool TakeNumber(std::string_view* text, size_t digits, int* value) {
  if (text->size() < digits) return false;
  *value = 0;
  for (const char c : text->substr(0, digits)) {
    if (c < '0' || c > '9') return false;
    *value = *value * 10 + (c - '0');
  }
  text->remove_prefix(digits);
  return true;
}

bool Take(std::string_view* text, std::string_view any_of) {
  if (text->empty() || any_of.find(text->front()) == std::string_view::npos) return false;
  text->remove_prefix(1);
  return true;
}

// "004" of ".004": what is finer than a millisecond is dropped.
bool TakeFraction(std::string_view* text, UnixMillis* millis) {
  if (!Take(text, ".")) return true;
  size_t digits = 0;
  for (UnixMillis unit = 100; !text->empty() && text->front() >= '0' && text->front() <= '9'; unit /= 10, ++digits) {
    *millis += (text->front() - '0') * unit;
    text->remove_prefix(1);
  }
  return digits > 0;
}

std::optional<UnixMillis> ParseDate(std::string_view text) {
  int year, month, day, hour, minute, second;
  if (!TakeNumber(&text, 4, &year) || !Take(&text, "-") || !TakeNumber(&text, 2, &month) || !Take(&text, "-") ||
      !TakeNumber(&text, 2, &day) || !Take(&text, "Tt ") || !TakeNumber(&text, 2, &hour) || !Take(&text, ":") ||
      !TakeNumber(&text, 2, &minute) || !Take(&text, ":") || !TakeNumber(&text, 2, &second)) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date(std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day)));
  if (!date.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  UnixMillis millis = 0;
  if (!TakeFraction(&text, &millis)) return std::nullopt;
  int offset = 0;  // minutes east
  if (text.empty()) return std::nullopt;
  const char zone = text.front();
  if (Take(&text, "+-")) {
    int hours, minutes;
    if (!TakeNumber(&text, 2, &hours) || !Take(&text, ":") || !TakeNumber(&text, 2, &minutes) || hours > 23 ||
        minutes > 59) {
      return std::nullopt;
    }
    offset = (hours * 60 + minutes) * (zone == '-' ? -1 : 1);
  } else if (!Take(&text, "Zz")) {
    return std::nullopt;
  }
  if (!text.empty()) return std::nullopt;
  const UnixMillis days = std::chrono::sys_days(date).time_since_epoch().count();
  return days * kDay + ((hour * 60 + minute - offset) * 60 + second) * kSecond + millis;
}

// How many bytes the UTF-8 character at the front has; 0 if there is none.
size_t Utf8Length(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  size_t length = 0;
  uint32_t value = 0;
  uint32_t least = 0;
  if ((first & 0xe0) == 0xc0) {
    length = 2, value = first & 0x1f, least = 0x80;
  } else if ((first & 0xf0) == 0xe0) {
    length = 3, value = first & 0x0f, least = 0x800;
  } else if ((first & 0xf8) == 0xf0) {
    length = 4, value = first & 0x07, least = 0x10000;
  }
  if (length == 0 || bytes.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
    value = value << 6 | (at(i) & 0x3f);
  }
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  return value < least || value > 0x10ffff || surrogate ? 0 : length;
}

}  // namespace

std::string TimeText(UnixMillis time) {
  // The years 0 to 9999.
  if (time < -62'167'219'200 * kSecond || time >= 253'402'300'800 * kSecond) return std::to_string(time) + " ms";
  const auto point = std::chrono::sys_time<std::chrono::milliseconds>(std::chrono::milliseconds(time));
  const auto days = std::chrono::floor<std::chrono::days>(point);
  const std::chrono::year_month_day date(days);
  const auto within = static_cast<unsigned>((point - days).count());
  char text[40];
  std::snprintf(text, sizeof(text), "%04d-%02u-%02uT%02u:%02u:%02u.%03uZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), within / 3'600'000,
                within / 60'000 % 60, within / 1000 % 60, within % 1000);
  return text;
}

std::optional<uint64_t> ParseNumber(std::string_view text, uint64_t max) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

std::optional<UnixMillis> ParseTime(std::string_view text) {
  if (text.size() > 4 && text[4] == '-') return ParseDate(text);
  const size_t point = text.find('.');
  const std::optional<uint64_t> whole = ParseNumber(text.substr(0, point), kFirstMillis * kFirstMillis / 1'000'000);
  if (!whole.has_value()) return std::nullopt;
  if (*whole >= kFirstMillis) {
    return point == std::string_view::npos ? std::optional<UnixMillis>(static_cast<UnixMillis>(*whole)) : std::nullopt;
  }
  UnixMillis millis = 0;
  std::string_view rest = point == std::string_view::npos ? std::string_view() : text.substr(point);
  if (!TakeFraction(&rest, &millis) || !rest.empty()) return std::nullopt;
  return static_cast<UnixMillis>(*whole) * kSecond + millis;
}

std::string SizeText(uint64_t bytes) {
  if (bytes < 1024) return Count(bytes, "byte");
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < std::size(kUnits)) value /= 1024, ++unit;
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f %s", value, kUnits[unit]);
  return text;
}

std::string Count(uint64_t n, std::string_view thing) {
  return std::to_string(n) + " " + std::string(thing) + (n == 1 ? "" : "s");
}

bool IsUtf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t length = Utf8Length(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

std::string Printable(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const char c = bytes.front();
    const auto byte = static_cast<unsigned char>(c);
    const size_t length = Utf8Length(bytes);
    if (c == '\\' || c == '"') {
      out.append({'\\', c});
    } else if (c == '\n') {
      out.append("\\n");
    } else if (c == '\r') {
      out.append("\\r");
    } else if (c == '\t') {
      out.append("\\t");
    } else if (length == 0 || byte < 0x20 || byte == 0x7f) {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\x%02x", byte);
      out.append(escaped);
    } else {
      out.append(bytes.substr(0, length));
    }
    bytes.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

std::string Quote(std::string_view bytes) { return "\"" + Printable(bytes) + "\""; }

}  // namespace skein::ops
