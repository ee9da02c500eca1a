// libFuzzer target for the request parser: whole input and the input in two pieces must give the same, within bounds.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "node/resp.h"

namespace {

using skein::node::ParseResult;

struct Outcome {
  std::vector<std::vector<std::string>> commands;
  std::string error;
};

Outcome Feed(std::string_view input, size_t cut, const skein::node::RespLimits& limits) {
  Outcome out;
  skein::node::RequestParser parser;
  skein::node::PartialCommand partial;
  bool have_partial = false;
  std::string buffer;
  for (std::string_view piece : {input.substr(0, cut), input.substr(cut)}) {
    buffer.append(piece);
    buffer.shrink_to_fit();
    while (!buffer.empty()) {
      std::vector<std::string_view> args;
      size_t used = 0;
      const ParseResult r = have_partial ? parser.Parse(buffer, limits, &partial, &args, &used)
                                         : parser.ParseFresh(buffer, limits, &partial, &args, &used);
      have_partial = r == ParseResult::kIncomplete;
      if (have_partial) break;
      if (r == ParseResult::kError) {
        out.error = parser.error();
        return out;
      }
      if (used == 0 || used > buffer.size()) abort();
      out.commands.emplace_back(args.begin(), args.end());
      buffer.erase(0, used);
      parser.ReleaseUnquoted();
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const skein::node::RespLimits limits{1 << 20, (data[0] & 1) != 0};
  const std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);
  const size_t cut = input.empty() ? 0 : data[1] % (input.size() + 1);
  const Outcome whole = Feed(input, 0, limits), split = Feed(input, cut, limits);
  if (whole.commands != split.commands || whole.error != split.error) abort();
  return 0;
}
