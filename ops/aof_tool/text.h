// What people read and write: times, sizes, quoted bytes.
#ifndef SKEIN_OPS_AOF_TOOL_TEXT_H_
#define SKEIN_OPS_AOF_TOOL_TEXT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/types.h"

namespace skein::ops {

// "2026-11-22T01:02:03.004Z". A time outside the years 0 to 9999 is shown as milliseconds.
std::string TimeText(storage::UnixMillis time);
// RFC 3339 ("2026-11-22T01:02:03Z", with a fraction, with an offset; a blank for the T), or a number: seconds since
// 1970, with a fraction if need be, milliseconds from 100,000,000,000 on. Nothing if it is neither.
std::optional<storage::UnixMillis> ParseTime(std::string_view text);

// A number without sign, at most `max`.
std::optional<uint64_t> ParseNumber(std::string_view text, uint64_t max = ~uint64_t{0});

// "17 bytes", "1.2 KiB", "3.4 GiB".
std::string SizeText(uint64_t bytes);
// "1 record", "2 records".
std::string Count(uint64_t n, std::string_view thing);

bool IsUtf8(std::string_view bytes);
// Without control characters or broken UTF-8: those as \n, \r, \t, \xhh; backslash and double quote escaped.
std::string Printable(std::string_view bytes);
// In double quotes, as redis-cli takes it.
std::string Quote(std::string_view bytes);

}  // namespace skein::ops

#endif  // SKEIN_OPS_AOF_TOOL_TEXT_H_
