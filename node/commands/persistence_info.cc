// Names and order as Redis 7.2 has them. Nothing forks here: what Redis calls copy-on-write memory is what a snapshot
// holds in memory beside the data, the bytes on their way to its file and what only it keeps alive.
#include "node/commands/persistence_info.h"

#include <algorithm>

#include "fmt/format.h"
#include "storage/data_set.h"
#include "storage/saver.h"
#include "storage/wall_clock.h"

namespace skein::node {
namespace {

using storage::SaveStatus;

struct Lines {
  std::string* out;
  template <typename Value>
  void operator()(std::string_view field, const Value& value) const {
    fmt::format_to(std::back_inserter(*out), "{}:{}\r\n", field, value);
  }
};

// An error's text may hold anything; a field is one line.
std::string OneLine(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
  return text;
}

}  // namespace

std::string PersistenceFields(const Node& node, uint64_t changes, uint64_t kept_bytes) {
  std::string text;
  const Lines line{&text};
  const storage::DataSet::Stats log = node.data().stats();
  SaveStatus save;
  if (const storage::Saver* const saver = node.data().saver(); saver != nullptr) {
    save = saver->status();
  } else {
    save.last_save = node.start_time_ms();
  }
  const bool running = save.running != SaveStatus::Kind::kNone;
  const bool rdb = save.running == SaveStatus::Kind::kRdb, rewrite = save.running == SaveStatus::Kind::kRewrite;
  const int64_t seconds = running ? std::max<int64_t>(0, storage::WallClock() - save.started) / 1000 : -1;
  const auto ok = [](bool good) { return good ? "ok" : "err"; };

  line("loading", 0);
  line("async_loading", 0);
  line("current_cow_peak", running ? save.bytes_unwritten_peak : 0);
  line("current_cow_size", running ? save.bytes_unwritten + kept_bytes : 0);
  line("current_cow_size_age", 0);
  line("current_fork_perc",
       fmt::format("{:.2f}", running && save.keys_total != 0
                                 ? 100.0 * static_cast<double>(save.keys_done) / static_cast<double>(save.keys_total)
                                 : 0.0));
  line("current_save_keys_processed", running ? save.keys_done : 0);
  line("current_save_keys_total", running ? save.keys_total : 0);
  line("rdb_changes_since_last_save", changes - std::min(changes, save.changes_at_save));
  line("rdb_bgsave_in_progress", rdb ? 1 : 0);
  line("rdb_last_save_time", save.last_save / 1000);
  line("rdb_last_bgsave_status", ok(save.last_save_ok));
  line("rdb_last_bgsave_time_sec", save.last_save_seconds);
  line("rdb_current_bgsave_time_sec", rdb ? seconds : -1);
  line("rdb_saves", save.saves);
  line("rdb_last_cow_size", save.last_save_peak);
  line("aof_enabled", log.enabled ? 1 : 0);
  line("aof_rewrite_in_progress", rewrite ? 1 : 0);
  line("aof_rewrite_scheduled", save.rewrite_scheduled ? 1 : 0);
  line("aof_last_rewrite_time_sec", save.last_rewrite_seconds);
  line("aof_current_rewrite_time_sec", rewrite ? seconds : -1);
  line("aof_last_bgrewrite_status", ok(save.last_rewrite_ok));
  line("aof_rewrites", save.rewrites);
  line("aof_rewrites_consecutive_failures", save.consecutive_rewrite_failures);
  line("aof_last_write_status", ok(log.last_write_ok));
  line("aof_last_cow_size", save.last_rewrite_peak);
  line("module_fork_in_progress", 0);
  line("module_fork_last_cow_size", 0);
  if (log.enabled) {
    line("aof_current_size", log.current_size);
    line("aof_base_size", log.base_size);
    line("aof_pending_rewrite", 0);
    line("aof_buffer_length", log.pending_bytes);
    line("aof_pending_bio_fsync", 0);
    line("aof_delayed_fsync", log.delayed_fsync);
  }
  // Ours.
  line("rdb_bgsave_scheduled", save.rdb_scheduled ? 1 : 0);
  line("current_save_bytes_written", running ? save.bytes_written : 0);
  line("last_save_error", OneLine(save.last_error));
  if (!log.enabled) return text;
  line("aof_writes", log.writes);
  line("aof_fsyncs", log.fsyncs);
  line("aof_write_errors", log.write_errors);
  line("aof_fsync_errors", log.fsync_errors);
  line("aof_last_error", OneLine(log.last_error));
  for (size_t i = 0; i < log.shards.size(); ++i) {
    const storage::DataSet::Stats::PerShard& s = log.shards[i];
    line(fmt::format("aof_shard{}", i),
         fmt::format("end={},written={},durable={},incr_size={},base_size={},size_after_rewrite={},ok={}", s.end,
                     s.written, s.durable, s.incr_size, s.base_size, s.size_after_rewrite, s.ok ? 1 : 0));
  }
  return text;
}

}  // namespace skein::node
