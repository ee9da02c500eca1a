#include "storage/save_file.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "glog/logging.h"

namespace skein::storage {
namespace {

constexpr size_t kPiece = 1u << 20;
constexpr size_t kSmallestPiece = 4u << 10;
// As redis-server does it.
constexpr uint64_t kSyncEvery = 4u << 20;
// How long a change of the rate may go unnoticed.
constexpr auto kLook = std::chrono::milliseconds(100);

}  // namespace

size_t SavePace::Piece() const {
  const uint64_t rate = rate_();
  return rate == 0 ? kPiece : std::clamp<uint64_t>(rate / 10, kSmallestPiece, kPiece);
}

absl::Status SavePace::Take(size_t bytes) {
  while (true) {
    const uint64_t rate = rate_();
    const Clock::time_point now = Clock::now();
    if (rate == 0) {
      debt_ = 0;
      then_ = now;
      return absl::OkStatus();
    }
    const double paid = std::chrono::duration<double>(now - then_).count() * static_cast<double>(rate);
    debt_ = std::max(0.0, debt_ - paid);
    then_ = now;
    if (debt_ == 0) {
      debt_ = static_cast<double>(bytes);
      return absl::OkStatus();
    }
    const auto left = std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(std::min(1.0, debt_ / static_cast<double>(rate))));
    const Clock::duration wait = std::clamp<Clock::duration>(left, std::chrono::microseconds(100), kLook);
    if (!wait_until_(now + wait)) return absl::CancelledError("cancelled");
  }
}

absl::Status SaveFile::Open() {
  absl::StatusOr<std::unique_ptr<File>> file = fs_->Open(path_, FileSystem::Mode::kReplace);
  if (!file.ok()) return file.status();
  file_ = *std::move(file);
  made_ = true;
  return absl::OkStatus();
}

absl::Status SaveFile::WriteSome() { return buffer_.size() < kPiece ? absl::OkStatus() : Write(kPiece); }

absl::Status SaveFile::Write(size_t keep_below) {
  size_t done = 0;
  while (buffer_.size() - done >= std::max<size_t>(keep_below, 1)) {
    const size_t size = std::min(pace_->Piece(), buffer_.size() - done);
    if (absl::Status status = pace_->Take(size); !status.ok()) return status;
    if (absl::Status status = file_->WriteAt(written_, std::string_view(buffer_).substr(done, size)); !status.ok()) {
      return status;
    }
    done += size;
    written_ += size;
    if (incremental_sync_ && written_ - synced_ >= kSyncEvery) {
      if (absl::Status status = file_->Sync(); !status.ok()) return status;
      synced_ = written_;
    }
  }
  buffer_.erase(0, done);
  // A very long string has come through: its room is given back.
  if (buffer_.capacity() > 4 * kPiece && buffer_.size() < kPiece) buffer_.shrink_to_fit();
  return absl::OkStatus();
}

absl::Status SaveFile::Finish() {
  if (absl::Status status = Write(0); !status.ok()) return status;
  if (absl::Status status = file_->Sync(); !status.ok()) return status;
  file_.reset();
  return absl::OkStatus();
}

void SaveFile::Remove() {
  file_.reset();
  if (!std::exchange(made_, false)) return;
  const absl::Status status = fs_->RemoveFile(path_);
  if (!status.ok() && !absl::IsNotFound(status)) LOG(WARNING) << "could not remove " << status.message();
}

}  // namespace skein::storage
