#include "storage/import/resp_aof.h"

#include <algorithm>
#include <charconv>

namespace skein::storage {
namespace {

constexpr uint64_t kWindow = 1u << 20;
constexpr uint64_t kMaxLine = 1024;

}  // namespace

absl::Status RespAof::Bad(std::string_view why) const {
  return absl::DataLossError(path_ + ": at offset " + std::to_string(offset_) + ": " + std::string(why));
}

absl::StatusOr<bool> RespAof::Fill(uint64_t n) {
  if (offset_ >= window_at_ && offset_ + n <= window_at_ + window_.size()) return true;
  const bool enough = n <= size_ - offset_;
  if (!enough && !window_.empty() && window_at_ <= offset_ && window_at_ + window_.size() == size_) return false;
  // By more than is asked for: a command of many arguments is not read again for each of them.
  const uint64_t want = std::min(std::max(n + n / 2, kWindow), size_ - offset_);
  window_.resize(want);
  window_at_ = offset_;
  const absl::StatusOr<size_t> got = file_->ReadAt(offset_, window_.data(), want);
  if (!got.ok()) return got.status();
  if (*got < want) return absl::InternalError(path_ + ": shrank while it was read");
  return enough;
}

absl::StatusOr<RespAof::Got> RespAof::Line(uint64_t at, std::string_view* line) {
  absl::StatusOr<bool> filled = Fill(at + kMaxLine);  // or what there is
  if (!filled.ok()) return filled.status();
  const std::string_view rest = Window().substr(std::min<uint64_t>(at, Window().size())).substr(0, kMaxLine);
  const size_t end = rest.find('\n');
  if (end == std::string_view::npos) return rest.size() == kMaxLine ? Got::kBad : Got::kShort;
  if (end == 0 || rest[end - 1] != '\r') return Got::kBad;
  *line = rest.substr(0, end - 1);
  return Got::kOk;
}

absl::StatusOr<RespAof::Got> RespAof::Number(uint64_t* at, char sign, uint64_t max, uint64_t* number) {
  std::string_view line;
  const absl::StatusOr<Got> got = Line(*at, &line);
  if (!got.ok() || *got == Got::kBad) return got;
  if (*got == Got::kShort) {
    const std::string_view rest = Window().substr(std::min<uint64_t>(*at, Window().size()));
    return rest.empty() || rest[0] == sign ? Got::kShort : Got::kBad;
  }
  if (line.size() < 2 || line[0] != sign) return Got::kBad;
  const auto [end, error] = std::from_chars(line.data() + 1, line.data() + line.size(), *number);
  if (error != std::errc() || end != line.data() + line.size() || *number > max) return Got::kBad;
  *at += line.size() + 2;
  return Got::kOk;
}

absl::StatusOr<RespAof::Got> RespAof::Command(uint64_t* length) {
  uint64_t at = 0;
  uint64_t count;
  absl::StatusOr<Got> got = Number(&at, '*', kMaxArguments, &count);
  if (!got.ok() || *got != Got::kOk) return got;
  if (count == 0) return Got::kBad;
  places_.clear();
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t size;
    got = Number(&at, '$', kMaxArgument, &size);
    if (!got.ok() || *got != Got::kOk) return got;
    const absl::StatusOr<bool> filled = Fill(at + size + 2);
    if (!filled.ok()) return filled.status();
    if (!*filled) return Got::kShort;
    if (Window().substr(at + size, 2) != "\r\n") return Got::kBad;
    places_.emplace_back(at, size);
    at += size + 2;
  }
  *length = at;
  return Got::kOk;
}

// Whether what looks like another command stands anywhere behind the beginning of this one.
absl::StatusOr<bool> RespAof::CommandFollows() {
  constexpr uint64_t kOverlap = 32;
  for (uint64_t at = offset_; at + 4 < size_;) {
    std::string piece(std::min<uint64_t>(kWindow, size_ - at), '\0');
    const absl::StatusOr<size_t> got = file_->ReadAt(at, piece.data(), piece.size());
    if (!got.ok()) return got.status();
    for (size_t hit = piece.find("\r\n*"); hit != std::string::npos; hit = piece.find("\r\n*", hit + 1)) {
      const std::string_view behind = std::string_view(piece).substr(hit + 3);
      const size_t digits = behind.find_first_not_of("0123456789");
      if (digits != 0 && digits != std::string_view::npos && behind.substr(digits).starts_with("\r\n$")) return true;
    }
    if (piece.size() < kWindow) break;
    at += piece.size() - kOverlap;
  }
  return false;
}

absl::StatusOr<RespAof::Found> RespAof::Next() {
  while (true) {
    command_offset_ = offset_;
    if (offset_ == size_) return Found::kEnd;
    absl::StatusOr<bool> filled = Fill(1);
    if (!filled.ok()) return filled.status();
    if (Window()[0] == '#') {
      std::string_view line;
      const absl::StatusOr<Got> got = Line(0, &line);
      if (!got.ok()) return got.status();
      if (*got == Got::kShort) return Found::kTruncated;
      if (*got == Got::kBad) return Bad("an annotation without an end");
      if (line.starts_with("#TS:")) {
        int64_t seconds = 0;
        const std::string_view text = line.substr(4);
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
        if (error != std::errc() || end != text.data() + text.size() || seconds < 0 || seconds > (int64_t{1} << 40)) {
          return Bad("malformed annotation");
        }
        annotated_time_ = seconds * 1000;
      }
      offset_ += line.size() + 2;
      continue;
    }
    uint64_t length = 0;
    const absl::StatusOr<Got> got = Command(&length);
    if (!got.ok()) return got.status();
    if (*got == Got::kBad) return Bad("not a command");
    if (*got == Got::kShort) {
      const absl::StatusOr<bool> more = CommandFollows();
      if (!more.ok()) return more.status();
      if (*more) return Bad("a command whose length reaches past the end of the file, although others follow it");
      return Found::kTruncated;
    }
    argv_.clear();
    for (const auto& [at, size] : places_) argv_.push_back(Window().substr(at, size));
    offset_ += length;
    return Found::kCommand;
  }
}

}  // namespace skein::storage
