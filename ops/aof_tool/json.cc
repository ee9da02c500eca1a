#include "ops/aof_tool/json.h"

#include <cstdio>

#include "ops/aof_tool/text.h"

namespace skein::ops {
namespace {

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.append({'\\', c});
    } else if (byte < 0x20 || byte == 0x7f) {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\u%04x", byte);
      out.append(escaped);
    } else {
      out.push_back(c);
    }
  }
  return out + "\"";
}

}  // namespace

// Messages may quote anything; what is no UTF-8 in them is shown, not passed on.
Json::Json(std::string_view text) : text_(Quoted(IsUtf8(text) ? std::string(text) : Printable(text))) {}

Json Json::Bytes(std::string_view bytes) {
  if (IsUtf8(bytes)) return Json(bytes);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    hex.push_back(kDigits[byte >> 4]);
    hex.push_back(kDigits[byte & 15]);
  }
  return Object().Set("hex", hex);
}

Json Json::Decimal(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f", value);
  return Json(text, '\0');
}

void Json::Separate() {
  if (text_.size() > 1) text_.append(", ");
}

Json& Json::Set(std::string_view name, const Json& value) {
  Separate();
  text_.append(Quoted(name)).append(": ").append(value.Text());
  return *this;
}

Json& Json::Add(const Json& value) {
  Separate();
  text_.append(value.Text());
  return *this;
}

}  // namespace skein::ops
