// From bytes to executed commands: parse a batch, prefetch what it will touch, execute it in order.
#include <algorithm>
#include <string>
#include <utility>

#include "glog/logging.h"
#include "node/config/text.h"
#include "node/loop_impl.h"
#include "node/node_impl.h"

namespace skein::node {

size_t LoopImpl::Execute(ClientSession& s, char* data, size_t size) {
  size_t pos = 0;
  while (pos < size) {
    // 1. Parse. Without a password given, one at a time: AUTH changes the limits of what follows.
    const bool authenticated = s.st.authenticated || config_->requirepass.empty();
    const RespLimits limits{config_->proto_max_bulk_len, authenticated};
    const size_t most = authenticated ? kBatch : 1;
    size_t n = 0;
    bool incomplete = false, failed = false;
    args_.clear();
    parser_.ReleaseUnquoted();
    while (n < most && pos < size) {
      Prepared& p = batch_[n];
      p.begin = pos;
      p.argv_begin = static_cast<uint32_t>(args_.size());
      size_t used = 0;
      const std::string_view in(data + pos, size - pos);
      ParseResult result;
      if (s.partial != nullptr) {
        result = parser_.Parse(in, limits, s.partial.get(), &args_, &used);
        if (result != ParseResult::kIncomplete) s.partial.reset();
      } else {
        result = parser_.ParseFresh(in, limits, &scratch_partial_, &args_, &used);
        if (result == ParseResult::kIncomplete && n == 0) {
          // Kept only where it is known that the remainder starts here.
          s.partial = std::make_unique<PartialCommand>(std::move(scratch_partial_));
        }
      }
      if (result == ParseResult::kCommand) {
        pos += used;
        p.argc = static_cast<uint32_t>(args_.size()) - p.argv_begin;
        p.end = pos;
        if (p.argc != 0) ++n;
        continue;
      }
      incomplete = result == ParseResult::kIncomplete;
      failed = result == ParseResult::kError;
      break;
    }
    // 2. Look up, and fetch what will be touched: one stage over the whole batch before the next.
    for (size_t i = 0; i < n; ++i) {
      Prepare(s, Args(args_.data() + batch_[i].argv_begin, batch_[i].argc), &batch_[i]);
    }
    if (n > 1) {
      for (int stage = 0; stage < 3; ++stage) {
        for (size_t i = 0; i < n; ++i) {
          const Prepared& p = batch_[i];
          if (p.kind == Prepared::Kind::kHere && p.key_index >= 0) {
            hosts_[p.shard]->shard->Prefetch(s.st.db, *p.key, stage);
          }
        }
      }
    }
    // 3. Execute. Cheap commands are timed in runs.
    constexpr size_t kRun = 8;
    uint64_t start = n != 0 ? ReadCycles() : 0;
    size_t run_begin = 0;
    for (size_t i = 0; i < n; ++i) {
      Prepared& p = batch_[i];
      const Outcome outcome = ExecuteOne(s, p);
      const bool flush_run = i + 1 == n || outcome != Outcome::kDone || i + 1 - run_begin == kRun ||
                             p.info == nullptr || !p.info->cheap || batch_[i + 1].info == nullptr ||
                             !batch_[i + 1].info->cheap;
      if (flush_run) {
        const uint64_t now = ReadCycles();
        const size_t end = outcome == Outcome::kAgain ? i : i + 1;  // what has run: [run_begin, end)
        if (end > run_begin) CountTime(s, run_begin, end, now - start);
        start = now;
        run_begin = i + 1;
      }
      if (s.closing) return size;
      if (outcome == Outcome::kAgain) return p.begin;
      if (s.st.close_after_reply || s.st.close_now) return size;
      if (outcome == Outcome::kStop) return p.end;
      if (s.out.size() - s.sent > OutputMark()) {
        ParkSession(s, Park::kOutput);
        return p.end;
      }
    }
    if (failed) {
      ProtocolError(s, parser_.error());
      return size;
    }
    if (incomplete) {
      if (n == 0 || s.partial != nullptr) break;
      // The remainder starts here; the next pass over it, with n == 0, keeps how far it got.
    }
  }
  return pos;
}

namespace {

// With RESP2 a subscribed client could not tell a reply from a message, so it may not ask for any other.
bool OnlySubscribing(const ClientSession& s, const Prepared& p) {
  if (s.st.resp != 2 || p.kind == Prepared::Kind::kUnknown || p.kind == Prepared::Kind::kArity ||
      p.kind == Prepared::Kind::kNoAuth || p.kind == Prepared::Kind::kHostile) {
    return false;
  }
  const std::string_view name = p.info->stats.spec->name;
  return !name.ends_with("subscribe") && name != "ping" && name != "quit" && name != "reset";
}

void WriteOnlySubscribing(const CommandSpec& spec, ReplyWriter* reply) {
  std::string text = "ERR Can't execute '";
  if (spec.parent != nullptr) text.append(spec.parent).append("|");
  text.append(spec.name).append(
      "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context");
  reply->Error(text);
}

}  // namespace

LoopImpl::Outcome LoopImpl::ExecuteOne(ClientSession& s, Prepared& p) {
  const Args argv(args_.data() + p.argv_begin, p.argc);
  if (p.kind == Prepared::Kind::kHere && !s.st.subscribed()) [[likely]] {
    return ExecuteHere(s, p, argv);
  }
  if (s.st.subscribed() && OnlySubscribing(s, p)) {
    Reject(s, p, [&](ReplyWriter& r) { WriteOnlySubscribing(*p.info->stats.spec, &r); });
    return Outcome::kDone;
  }
  switch (p.kind) {
    case Prepared::Kind::kElsewhere:
      return HandOver(s, p, argv);
    case Prepared::Kind::kSession:
      return ExecuteSession(s, p, argv);
    case Prepared::Kind::kAllShards:
      return ExecuteAllShards(s, p, argv);
    case Prepared::Kind::kHostile:
      LOG(WARNING) << "possible SECURITY ATTACK detected from " << s.st.addr
                   << ": it sends HTTP (POST or Host:), as a web page would that is made to attack a server. Aborted.";
      s.st.close_now = true;
      return Outcome::kDone;
    case Prepared::Kind::kUnknown:
      Reject(s, p, [&](ReplyWriter& r) { UnknownCommand(argv, &r); });
      return Outcome::kDone;
    case Prepared::Kind::kArity:
      Reject(s, p, [&](ReplyWriter& r) { WrongArity(*p.info->stats.spec, &r); });
      return Outcome::kDone;
    case Prepared::Kind::kNoAuth:
      Reject(s, p, [](ReplyWriter& r) { r.Error("NOAUTH Authentication required."); });
      return Outcome::kDone;
    case Prepared::Kind::kCrossSlot:
      Reject(s, p,
             [&](ReplyWriter& r) { routing_.WriteRedirect(Verdict::kCrossSlot, p.slot, *config_, s.st.tls, &r); });
      return Outcome::kDone;
    case Prepared::Kind::kHere:
      return ExecuteHere(s, p, argv);
    case Prepared::Kind::kNowhere:
      break;
  }
  // kNowhere: on the session's loop, without a shard, to write the error.
  Buffer* buffer = s.ReplyBuffer(gating_);
  const size_t start = buffer->size();
  ReplyWriter reply(buffer, s.st.resp);
  Call call{p.info->stats.spec, argv, &reply, CallerOf(s)};
  call.session = &s;
  call.loop = this;
  call.node = node_;
  call.config = config_.get();
  const ClientReplyMode before = s.st.reply_mode;
  call.spec->run(call);
  Finish(s, p.info, /*executed=*/true, buffer, start, before);
  return Outcome::kDone;
}

Caller LoopImpl::CallerOf(const ClientSession& s) const {
  return Caller{s.st.id, s.st.db, s.st.resp, s.st.asking, s.st.readonly, s.st.no_touch, s.st.tls};
}

bool LoopImpl::PausedFor(const CommandSpec& spec) const {
  if (pause_.until_ms == 0 || pause_.until_ms <= mono_ms_) return false;
  return !pause_.writes_only || (spec.flags & (kFlagWrite | kFlagMayReplicate));
}

bool LoopImpl::WritableNow() {
  if (!cluster_) return true;
  if (writable_checked_ms_ != mono_ms_) {
    writable_checked_ms_ = mono_ms_;
    writable_ = node_->bus()->writable_until_ms() > mono_ms_;
  }
  return writable_;
}

LoopImpl::Outcome LoopImpl::ExecuteSession(ClientSession& s, Prepared& p, Args argv) {
  const CommandSpec& spec = *p.info->stats.spec;
  if (!s.segments.empty()) {
    ParkSession(s, Park::kOrder);
    return Outcome::kAgain;
  }
  if (PausedFor(spec)) {
    ParkSession(s, Park::kPause);
    return Outcome::kAgain;
  }
  const size_t start = s.out.size();
  ReplyWriter reply(&s.out, s.st.resp);
  if (guard_.any() && !PassesGuard(spec, nullptr, &reply)) {
    s.st.asking = false;
    Finish(s, p.info, /*executed=*/false, &s.out, start, s.st.reply_mode);
    return Outcome::kDone;
  }
  Call call{&spec, argv, &reply, CallerOf(s)};
  call.session = &s;
  call.loop = this;
  call.node = node_;
  call.config = config_.get();
  const ClientReplyMode before = s.st.reply_mode;
  s.st.asking = false;  // one command long; ASKING itself sets it again
  s.last_spec = &spec;
  ++s.st.total_commands;
  executing_ = &s;
  spec.run(call);
  executing_ = nullptr;
  retired_config_.reset();
  if (s.park == Park::kDeferred) {
    TakePushes(s);
    ++p.info->stats.calls;
    ++stats_.commands;
    return Outcome::kStop;
  }
  Finish(s, p.info, /*executed=*/true, &s.out, start, before);
  TakePushes(s);
  return Outcome::kDone;
}

LoopImpl::Outcome LoopImpl::ExecuteHere(ClientSession& s, Prepared& p, Args argv) {
  const CommandSpec& spec = *p.info->stats.spec;
  if (pause_.until_ms != 0 && PausedFor(spec)) {
    ParkSession(s, Park::kPause);
    return Outcome::kAgain;
  }
  ShardHost& host = *hosts_[p.shard];
  const bool write = spec.flags & kFlagWrite;
  absl::Status room;
  if (write) {
    room = MayWrite(host);
    if (room.code() == absl::StatusCode::kUnavailable) {
      ParkSession(s, Park::kRoom);
      return Outcome::kAgain;
    }
  }
  if (room.ok() && OverMemory(spec)) room = absl::ResourceExhaustedError(kOutOfMemory);
  Buffer* buffer = s.ReplyBuffer(gating_);
  const size_t start = buffer->size();
  ReplyWriter reply(buffer, s.st.resp);
  Call call{&spec, argv, &reply, CallerOf(s)};
  call.shard = host.shard;
  call.loop = this;
  call.node = node_;
  call.config = config_.get();
  if (p.key_index >= 0) call.first_key = &*p.key;
  const ClientReplyMode before = s.st.reply_mode;
  s.st.asking = false;
  s.last_spec = &spec;
  ++s.st.total_commands;
  if (checked_ &&
      !MayServe(spec, call.caller, argv, p.key_index >= 0 ? p.slot : storage::kNoSlot, p.multiple_keys, host, &reply)) {
    Finish(s, p.info, /*executed=*/false, buffer, start, before);
    return Outcome::kDone;
  }
  if (!room.ok()) {
    reply.Error(TextOf(room));
    Finish(s, p.info, /*executed=*/false, buffer, start, before);
    return Outcome::kDone;
  }
  storage::Lsn wrote = 0;
  if (notifier_.events != 0) executing_ = &s;
  const storage::Lsn need = RunInBracket(call, host, p.key_index >= 0 ? p.slot : storage::kNoSlot, &wrote);
  executing_ = nullptr;
  if (wrote != 0) s.NoteWrite(p.shard, wrote);
  Finish(s, p.info, /*executed=*/true, buffer, start, before);
  if (need != 0 && buffer->size() > start) {
    if (s.segments.empty()) {
      s.AddBarrier(start, p.shard, need);
    } else {
      s.segments.back().shard = p.shard;
      s.segments.back().lsn = need;
    }
  }
  TakePushes(s);
  return Outcome::kDone;
}

storage::Lsn LoopImpl::RunInBracket(Call& call, ShardHost& host, uint16_t slot, storage::Lsn* wrote) {
  const bool counted = slot_stats_ != nullptr && slot != storage::kNoSlot;
  const uint64_t cycles = counted ? ReadCycles() : 0;
  const size_t replied = counted ? call.reply->buffer()->size() : 0;
  host.shard->Begin(unix_ms_, (call.spec->flags & kFlagWrite) != 0);
  call.spec->run(call);
  const storage::Lsn end = host.shard->End();
  if (counted) [[unlikely]] {
    slot_stats_->Count(slot, call.argv, ReadCycles() - cycles, call.reply->buffer()->size() - replied);
  }
  *wrote = end;
  if (end != 0) host.dirty = true;
  return gating_ ? Requirement(host, slot, end) : 0;
}

storage::Lsn LoopImpl::Requirement(ShardHost& host, uint16_t slot, storage::Lsn end) {
  if (host.log() == nullptr) return 0;
  if (slot == storage::kNoSlot) {
    if (end != 0) host.whole = end;
    return host.log()->end();
  }
  storage::Lsn& last = host.slots[slot / node_->shard_count()];
  if (end != 0) last = end;
  return std::max(last, host.whole);
}

bool LoopImpl::MayServe(const CommandSpec& spec, const Caller& caller, Args argv, uint16_t slot, bool multiple_keys,
                        ShardHost& host, ReplyWriter* reply) {
  const bool write = spec.flags & kFlagWrite;
  if (!cluster_) return PassesGuard(spec, &host, reply);
  if (slot == storage::kNoSlot) {
    if (write && !routing_.is_primary()) {
      reply->Error("READONLY You can't write against a read only replica.");
      return false;
    }
  } else if (!routing_.Plain(slot)) {
    const auto presence = [&] {
      Routing::Presence found;
      std::vector<uint32_t> positions;
      FindKeys(spec, argv, &positions);
      host.shard->Begin(unix_ms_, /*admitted=*/false);
      for (uint32_t i : positions) {
        // Database 0 is the only one that a cluster has; others are looked at where this node allows them.
        const bool here =
            host.shard->Find(caller.db, storage::Key(argv[i], slot), storage::Shard::Touch::kNo) != nullptr;
        ++(here ? found.existing : found.missing);
      }
      if (host.shard->End() != 0) host.dirty = true;
      return found;
    };
    const Verdict verdict =
        routing_.Decide(slot, spec, caller, multiple_keys, config_->cluster_allow_reads_when_down, presence);
    if (verdict != Verdict::kServe) {
      routing_.WriteRedirect(verdict, slot, *config_, caller.tls, reply);
      return false;
    }
  }
  if (write && !WritableNow()) {
    routing_.WriteRedirect(Verdict::kDown, slot, *config_, caller.tls, reply);
    return false;
  }
  return !guard_.any() || PassesGuard(spec, &host, reply);
}

LoopImpl::Outcome LoopImpl::ExecuteAllShards(ClientSession& s, Prepared& p, Args argv) {
  const CommandSpec& spec = *p.info->stats.spec;
  if (!s.segments.empty()) {
    ParkSession(s, Park::kOrder);
    return Outcome::kAgain;
  }
  if (PausedFor(spec)) {
    ParkSession(s, Park::kPause);
    return Outcome::kAgain;
  }
  const bool write = spec.flags & kFlagWrite;
  if (cluster_ && write && (!routing_.is_primary() || !WritableNow())) {
    const bool replica = !routing_.is_primary();
    Reject(s, p, [&](ReplyWriter& r) {
      if (replica) return r.Error("READONLY You can't write against a read only replica.");
      routing_.WriteRedirect(Verdict::kDown, 0, *config_, s.st.tls, &r);
    });
    return Outcome::kDone;
  }
  if (write && frozen_until_ms_ != 0) {
    ParkSession(s, Park::kRoom);
    return Outcome::kAgain;
  }
  if (guard_.any()) {
    Buffer error;
    ReplyWriter refusal(&error, s.st.resp);
    if (!PassesGuard(spec, nullptr, &refusal)) {
      Reject(s, p, [&](ReplyWriter& r) { r.Raw(error.view()); });
      return Outcome::kDone;
    }
  }
  s.last_spec = &spec;
  ++s.st.total_commands;
  s.st.asking = false;
  const Caller caller = CallerOf(s);
  const auto run = [&spec, caller](LoopImpl& loop, storage::Shard& shard, Args words) {
    Buffer out;
    ReplyWriter reply(&out, caller.resp);
    Call call{&spec, words, &reply, caller};
    call.shard = &shard;
    call.loop = &loop;
    call.node = &loop.node();
    call.config = &loop.config();
    spec.run(call);
    return std::string(out.view());
  };
  const auto merge = [&spec, caller](ClientSession& session, ReplyWriter& reply, Args words,
                                     const std::vector<ShardPart>& parts) {
    std::vector<std::string_view> partials;
    for (const ShardPart& part : parts) {
      if (!part.error.empty()) return reply.Error(part.error);
      partials.push_back(part.bytes);
    }
    Call call{&spec, words, &reply, caller};
    call.session = &session;
    call.loop = session.loop;
    call.node = &session.loop->node();
    call.config = &session.loop->config();
    spec.merge(call, partials);
  };

  if (own_hosts_.size() == hosts_.size()) {
    const size_t start = s.out.size();
    const ClientReplyMode before = s.st.reply_mode;
    std::vector<ShardPart> parts;
    RunOnShards([&](LoopImpl& loop, storage::Shard& shard) { return run(loop, shard, argv); }, write, &parts);
    ReplyWriter reply(&s.out, s.st.resp);
    merge(s, reply, argv, parts);
    Finish(s, p.info, /*executed=*/true, &s.out, start, before);
    AddBarriers(s, start, parts);
    return Outcome::kDone;
  }
  ++p.info->stats.calls;
  ++stats_.commands;
  // Other loops outlive this stack: they get the words of their own.
  struct Words {
    explicit Words(Args argv) : strings(argv.begin(), argv.end()), views(strings.begin(), strings.end()) {}
    std::vector<std::string> strings;
    std::vector<std::string_view> views;
  };
  auto words = std::make_shared<const Words>(argv);
  node_->AskShards(
      *this, write, [run, words](LoopImpl& loop, storage::Shard& shard) { return run(loop, shard, words->views); },
      [merge, words, id = s.st.id, ticket = DeferReply(s)](LoopImpl& loop, std::vector<ShardPart> parts) {
        loop.CompleteDeferred(id, ticket, [&](ClientSession& session, ReplyWriter& reply) {
          const size_t start = session.out.size();
          merge(session, reply, words->views, parts);
          loop.AddBarriers(session, start, parts);
        });
      });
  return Outcome::kStop;
}

// ---- Around a command ----------------------------------------------------------------------------------------------

void LoopImpl::Reject(ClientSession& s, Prepared& p, const std::function<void(ReplyWriter&)>& write) {
  Buffer* buffer = s.ReplyBuffer(gating_);
  const size_t start = buffer->size();
  const ClientReplyMode before = s.st.reply_mode;
  ReplyWriter reply(buffer, s.st.resp);
  write(reply);
  s.st.asking = false;
  Finish(s, p.info, /*executed=*/false, buffer, start, before);
}

void LoopImpl::Finish(ClientSession& s, CommandInfo* info, bool executed, Buffer* buffer, size_t start,
                      ClientReplyMode before) {
  if (executed) [[likely]] {
    ++info->stats.calls;
    ++stats_.commands;
  } else if (info != nullptr) {
    ++info->stats.rejected_calls;
  }
  if (buffer->size() > start && buffer->data()[start] == '-') [[unlikely]] {
    if (executed) ++info->stats.failed_calls;
    CountError(std::string_view(buffer->data() + start, buffer->size() - start));
  }
  const ClientReplyMode after = s.st.reply_mode;
  if (before == ClientReplyMode::kOn && after == ClientReplyMode::kOn) [[likely]] {
    if (buffer != &s.out) s.held_bytes += buffer->size() - start;
    return;
  }
  if (after == ClientReplyMode::kOff || (before == ClientReplyMode::kSkipThis && after == ClientReplyMode::kSkipThis)) {
    buffer->Truncate(start);
  }
  if (after == ClientReplyMode::kSkipNext) {
    s.st.reply_mode = ClientReplyMode::kSkipThis;
  } else if (before == ClientReplyMode::kSkipThis && after == ClientReplyMode::kSkipThis) {
    s.st.reply_mode = ClientReplyMode::kOn;
  }
  if (buffer != &s.out) s.held_bytes += buffer->size() - start;
}

void LoopImpl::ProtocolError(ClientSession& s, const std::string& text) {
  Buffer* buffer = s.ReplyBuffer(gating_);
  const size_t start = buffer->size();
  ReplyWriter(buffer, s.st.resp).Error("ERR " + text);
  CountError(std::string_view(buffer->data() + start, buffer->size() - start));
  if (buffer != &s.out) s.held_bytes += buffer->size() - start;
  LOG(INFO) << "protocol error from client " << s.st.addr << ": " << text;
  s.st.close_after_reply = true;
}

}  // namespace skein::node
