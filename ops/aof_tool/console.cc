#include "ops/aof_tool/console.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "ops/aof_tool/text.h"

namespace skein::ops {
namespace {

constexpr auto kFirst = std::chrono::milliseconds(300);  // shorter work shows nothing
constexpr auto kInterval = std::chrono::milliseconds(100);
constexpr size_t kWidth = 30;
constexpr std::string_view kClearLine = "\r\x1b[K";

}  // namespace

Progress::Progress(Console* console, std::string label, uint64_t total, Unit unit)
    : console_(console),
      label_(std::move(label)),
      total_(total),
      unit_(unit),
      started_(std::chrono::steady_clock::now()),
      next_(started_ + kFirst) {}

Progress::~Progress() {
  if (drawn_) console_->Err(kClearLine);
}

void Progress::Reach(uint64_t done) {
  if (!console_->ShowsProgress()) return;
  const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + kInterval;
  drawn_ = true;
  Draw(done);
}

void Progress::Draw(uint64_t done) {
  const double share = total_ == 0 ? 0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total_));
  const auto full = static_cast<size_t>(share * kWidth);
  std::string bar(kClearLine);
  bar.append(label_).append(" [").append(full, '#').append(kWidth - full, '.').append("] ");
  char percent[16];
  std::snprintf(percent, sizeof(percent), "%3.0f %%", share * 100);
  bar.append(percent);
  if (unit_ == Unit::kBytes) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
    bar.append("  ").append(SizeText(done)).append(" of ").append(SizeText(total_));
    bar.append(", ").append(SizeText(static_cast<uint64_t>(static_cast<double>(done) / seconds))).append("/s");
  }
  console_->Err(bar);
}

}  // namespace skein::ops
