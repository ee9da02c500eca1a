// What commands cost and how they fail: INFO commandstats, errorstats, and the slow log.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "node/config/directives.h"
#include "node/config/text.h"
#include "node/loop_impl.h"
#include "node/node_impl.h"

namespace skein::node {

void LoopImpl::CountError(std::string_view reply) {
  ++stats_.errors;
  constexpr size_t kMaxCodes = 128;
  size_t end = 1;
  while (end < reply.size() && end < 64 && reply[end] != ' ' && reply[end] != '\r') ++end;
  const std::string_view code = reply.substr(1, end - 1);
  auto it = error_stats_.find(code);
  if (it == error_stats_.end()) {
    it = error_stats_
             .emplace(error_stats_.size() < kMaxCodes ? std::string(code) : std::string("ERRORSTATS_OVERFLOW"), 0)
             .first;
  }
  ++it->second;
}

void LoopImpl::CountTime(const ClientSession& s, size_t begin, size_t end, uint64_t cycles) {
  const uint64_t each = cycles / (end - begin);
  for (size_t i = begin; i < end; ++i) {
    const Prepared& p = batch_[i];
    // What went to another loop is timed there.
    if (p.info != nullptr && p.kind != Prepared::Kind::kElsewhere) p.info->cycles += each;
  }
  if (cycles < slow_cycles_) [[likely]]
    return;
  for (size_t i = slow_cycles_ == 0 ? begin : end - 1; i < end; ++i) {
    const Prepared& p = batch_[i];
    if (p.info == nullptr || p.kind == Prepared::Kind::kElsewhere) continue;
    LogSlow(*p.info->stats.spec, Args(args_.data() + p.argv_begin, p.argc), s.st.addr, s.st.name,
            slow_cycles_ == 0 ? each : cycles);
  }
}

namespace {

// What CONFIG SET gives a directive that is a secret, as Redis hides it.
void HideSecrets(Args argv, std::vector<std::string>* shown) {
  if (argv.size() < 4 || !SameName(argv[0], "config") || !SameName(argv[1], "set")) return;
  for (size_t i = 2; i + 1 < std::min(argv.size(), shown->size()); i += 2) {
    const Directive* const d = FindDirective(argv[i]);
    if (d != nullptr && d->Is(Directive::kSensitive)) (*shown)[i + 1] = "(redacted)";
  }
}

}  // namespace

void LoopImpl::LogSlow(const CommandSpec& spec, Args argv, const std::string& addr, const std::string& name,
                       uint64_t cycles) {
  if (spec.flags & kFlagSkipSlowlog) return;
  SlowLogEntry e;
  e.id = node_->NextSlowLogId();
  e.unix_seconds = unix_ms_ / 1000;
  e.micros = static_cast<int64_t>(rate_.Nanos(cycles) / 1000);
  e.argv = SlowLog::Shorten(argv);
  HideSecrets(argv, &e.argv);
  e.client_addr = addr;
  e.client_name = name;
  slowlog_.Add(std::move(e), config_->slowlog_max_len);
}

}  // namespace skein::node
