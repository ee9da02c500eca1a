// Numbers in the words of commands and in string values: the strict forms that Redis accepts.
#ifndef SKEIN_NODE_UTIL_NUMBERS_H_
#define SKEIN_NODE_UTIL_NUMBERS_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace skein::node {

// A decimal 64-bit integer in its only canonical form: no sign but '-', no leading zero, no space, no "-0".
bool ParseInt64(std::string_view text, int64_t* value);

// A cursor: an unsigned 64-bit integer, digits only (leading zeros allowed).
bool ParseUint64(std::string_view text, uint64_t* value);

// A float as INCRBYFLOAT reads it: what strtold reads, all of it, without leading space; "inf" but not "nan".
bool ParseLongDouble(std::string_view text, long double* value);

// The form INCRBYFLOAT stores: 17 digits behind the point, trailing zeros and a bare point removed, "-0" is "0".
std::string FormatLongDouble(long double value);

}  // namespace skein::node

#endif  // SKEIN_NODE_UTIL_NUMBERS_H_
