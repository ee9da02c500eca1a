#include "storage/base_head.h"

#include <charconv>

#include "storage/rdb/encoder.h"

namespace skein::storage {
namespace {

constexpr std::string_view kShard = "skein-shard";
constexpr std::string_view kShards = "skein-shards";
constexpr std::string_view kLsn = "skein-lsn";
constexpr std::string_view kTime = "skein-time";
constexpr std::string_view kReign = "skein-reign";
// Bits of BaseHeadReader::seen_.
constexpr uint32_t kAll = 15;
constexpr uint32_t kReignSeen = 16;

template <typename T>
bool ParseNumber(std::string_view text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size() && std::to_string(*value) == text;
}

bool ParseReign(std::string_view text, Reign* reign) {
  const size_t first = text.find(' ');
  if (first == std::string_view::npos) return false;
  const size_t second = text.find(' ', first + 1);
  if (second == std::string_view::npos) return false;
  const auto id = ParseReignId(text.substr(0, first));
  if (!id.has_value()) return false;
  reign->id = *id;
  return ParseNumber(text.substr(first + 1, second - first - 1), &reign->epoch) &&
         ParseNumber(text.substr(second + 1), &reign->first_lsn);
}

}  // namespace

void WriteBaseHead(const BaseHead& head, RdbEncoder* encoder) {
  encoder->Aux(kShard, std::to_string(head.shard));
  encoder->Aux(kShards, std::to_string(head.shard_count));
  encoder->Aux(kLsn, std::to_string(head.lsn));
  encoder->Aux(kTime, std::to_string(head.time));
  for (const Reign& reign : head.history) {
    encoder->Aux(kReign, reign.IdHex() + " " + std::to_string(reign.epoch) + " " + std::to_string(reign.first_lsn));
  }
}

absl::Status BaseHeadReader::OnAux(std::string_view name, std::string_view value) {
  const auto malformed = [&] {
    return absl::DataLossError("auxiliary field " + std::string(name) + ": malformed: \"" +
                               std::string(value.substr(0, 64)) + "\"");
  };
  const auto once = [&](uint32_t bit, auto* number) -> absl::Status {
    if ((seen_ & bit) != 0) return absl::DataLossError("auxiliary field " + std::string(name) + ": stands twice");
    seen_ |= bit;
    return ParseNumber(value, number) ? absl::OkStatus() : malformed();
  };
  if (name == kShard) return once(1, &head_.shard);
  if (name == kShards) return once(2, &head_.shard_count);
  if (name == kLsn) return once(4, &head_.lsn);
  if (name == kTime) return once(8, &head_.time);
  if (name != kReign) return absl::OkStatus();
  seen_ |= kReignSeen;
  Reign reign;
  if (!ParseReign(value, &reign)) return malformed();
  if (!head_.history.empty() && reign.first_lsn < head_.history.back().first_lsn) {
    return absl::DataLossError("auxiliary field " + std::string(name) + ": reigns out of order");
  }
  if (head_.history.size() == kMaxReigns) {
    return absl::DataLossError("auxiliary field " + std::string(name) + ": too many reigns");
  }
  head_.history.push_back(reign);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<BaseHead>> BaseHeadReader::Finish() const {
  if (seen_ == 0) return std::optional<BaseHead>();
  if ((seen_ & kAll) != kAll) {
    return absl::DataLossError(
        "some of its auxiliary fields skein-shard, skein-shards, skein-lsn, skein-time are missing");
  }
  return std::optional<BaseHead>(head_);
}

}  // namespace skein::storage
