#include "bus/tls/errors.h"

#include <openssl/err.h>

#include <cstring>

namespace skein::bus {

namespace {

std::string Words(unsigned long code) {
  if (ERR_SYSTEM_ERROR(code)) return std::strerror(ERR_GET_REASON(code));
  const char* reason = ERR_reason_error_string(code);
  if (reason != nullptr) return reason;
  char text[256];
  ERR_error_string_n(code, text, sizeof(text));
  return text;
}

// "EVP lib" and the like only say which part of OpenSSL called which.
bool SaysSomething(unsigned long code) {
  return ERR_SYSTEM_ERROR(code) || (ERR_GET_REASON(code) & ERR_RFLAG_COMMON) == 0;
}

}  // namespace

SslError TakeSslError(const char* otherwise) {
  SslError out{0, 0, otherwise};
  for (bool first = true; const unsigned long code = ERR_get_error();) {
    const bool of_ssl = ERR_GET_LIB(code) == ERR_LIB_SSL;
    if (!SaysSomething(code) || (!first && !of_ssl)) continue;
    out = {ERR_GET_LIB(code), ERR_GET_REASON(code), Words(code)};
    if (of_ssl) break;
    first = false;
  }
  ERR_clear_error();
  return out;
}

}  // namespace skein::bus
