// Writes JSON: values that know how to print themselves, members in the order in which they were added.
#ifndef SKEIN_OPS_AOF_TOOL_JSON_H_
#define SKEIN_OPS_AOF_TOOL_JSON_H_

#include <concepts>
#include <string>
#include <string_view>

namespace skein::ops {

class Json {
 public:
  static Json Object() { return Json("{", '}'); }
  static Json Array() { return Json("[", ']'); }
  static Json Null() { return Json("null", '\0'); }
  // Bytes that a client stored: a string if they are UTF-8, else {"hex": "00ff"}.
  static Json Bytes(std::string_view bytes);

  // NOLINTBEGIN(google-explicit-constructor): a value is its JSON.
  Json(std::string_view text);
  Json(const std::string& text) : Json(std::string_view(text)) {}
  Json(const char* text) : Json(std::string_view(text)) {}
  Json(bool value) : text_(value ? "true" : "false") {}
  template <std::integral T>
  Json(T value) : text_(std::to_string(value)) {}
  // NOLINTEND(google-explicit-constructor)
  // With one digit behind the point.
  static Json Decimal(double value);

  // Members of an object, elements of an array.
  Json& Set(std::string_view name, const Json& value);
  Json& Add(const Json& value);

  std::string Text() const { return close_ == '\0' ? text_ : text_ + close_; }

 private:
  Json(std::string_view open, char close) : text_(open), close_(close) {}
  void Separate();

  std::string text_;
  char close_ = '\0';  // what ends an object or array
};

}  // namespace skein::ops

#endif  // SKEIN_OPS_AOF_TOOL_JSON_H_
