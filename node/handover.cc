#include "node/handover.h"

#include <algorithm>
#include <utility>

#include "node/loop_impl.h"
#include "node/node_impl.h"

namespace skein::node {
namespace {

// Replies that one session may have outstanding on other loops: as many as fit into so many bytes, if they are as large
// as its latest; and not more than so many, since a client may suddenly ask for larger ones.
constexpr size_t kOutstandingBytes = 4u << 20, kOutstandingBytesWhenFull = 256u << 10;
constexpr size_t kMaxSegments = 256;
// Buffers of a batch above this size are not kept for the next.
constexpr size_t kKeepBytes = 256u << 10;

}  // namespace

// ---- The batch -----------------------------------------------------------------------------------------------------

void HandoverBatch::Run(LoopImpl& loop, std::unique_ptr<Message> self) {
  std::unique_ptr<HandoverBatch> batch(static_cast<HandoverBatch*>(self.release()));
  if (answered) {
    loop.TakeBack(std::move(batch));
  } else {
    loop.RunBatch(std::move(batch));
  }
}

void HandoverBatch::AddArgs(Args words) {
  for (std::string_view word : words) {
    bytes.Append(word);
    arg_sizes.push_back(static_cast<uint32_t>(word.size()));
  }
}

void HandoverBatch::Reset() {
  answered = false;
  counted = true;
  next = 0;
  commands.clear();
  arg_sizes.clear();
  argv.clear();
  keys.clear();
  for (Buffer* b : {&bytes, &replies}) {
    b->Clear();
    if (b->capacity() > kKeepBytes) b->Release();
  }
}

bool HandoverBatch::AllOf(const std::unordered_set<uint64_t>& sessions) const {
  return std::all_of(commands.begin() + static_cast<ptrdiff_t>(next), commands.end(),
                     [&](const RemoteCommand& c) { return sessions.contains(c.session_id); });
}

std::unique_ptr<HandoverBatch> HandoverBatch::SplitOff(const std::unordered_set<uint64_t>& sessions) {
  auto off = std::make_unique<HandoverBatch>();
  off->source = source;
  off->target = target;
  off->counted = false;
  size_t kept = next;
  for (size_t i = next; i < commands.size(); ++i) {
    RemoteCommand& c = commands[i];
    if (!sessions.contains(c.session_id)) {
      if (kept != i) {
        commands[kept] = c;
        keys[kept] = keys[i];
      }
      ++kept;
      continue;
    }
    RemoteCommand& moved = off->commands.emplace_back(c);
    moved.argv_begin = static_cast<uint32_t>(off->arg_sizes.size());
    off->AddArgs(Args(argv.data() + c.argv_begin, c.argc));
  }
  commands.erase(commands.begin() + static_cast<ptrdiff_t>(kept), commands.end());
  keys.resize(commands.size());
  if (off->commands.empty()) off.reset();
  return off;
}

// ---- The session's loop --------------------------------------------------------------------------------------------

LoopImpl::Outcome LoopImpl::HandOver(ClientSession& s, Prepared& p, Args argv) {
  const CommandSpec& spec = *p.info->stats.spec;
  if (guard_.reshaping) [[unlikely]] {
    Reject(s, p, [](ReplyWriter& reply) { reply.Error(kReshaping); });
    return Outcome::kDone;
  }
  if (PausedFor(spec)) {
    ParkSession(s, Park::kPause);
    return Outcome::kAgain;
  }
  const size_t bytes = OutputIsScarce() ? kOutstandingBytesWhenFull : kOutstandingBytes;
  const size_t window = std::clamp<size_t>(bytes / (s.reply_hint + 1), 1, kMaxSegments);
  if (s.segments.size() >= window || s.held_bytes > OutputMark()) {
    ParkSession(s, Park::kOrder);
    return Outcome::kAgain;
  }
  if (cluster_ && p.key_index >= 0 && !routing_.Plain(p.slot)) {
    // What needs no look at the keys is answered here.
    const SlotState state = routing_.state(p.slot);
    if (state != SlotState::kMigrating && state != SlotState::kImporting) {
      const Verdict verdict =
          routing_.Decide(p.slot, spec, CallerOf(s), p.multiple_keys, config_->cluster_allow_reads_when_down,
                          [] { return Routing::Presence(); });
      if (verdict != Verdict::kServe) {
        Reject(s, p, [&](ReplyWriter& r) { routing_.WriteRedirect(verdict, p.slot, *config_, s.st.tls, &r); });
        return Outcome::kDone;
      }
    }
  }
  const uint32_t target = node_->LoopOf(p.shard);
  Outbox& box = outboxes_[target];
  if (box.open != nullptr && box.open->full()) SendBatch(box);
  if (box.open == nullptr) {
    if (box.outstanding >= kCredits) {
      ParkSession(s, Park::kCredit);
      box.waiting.push_back(s.st.id);
      return Outcome::kAgain;
    }
    if (spare_batches_.empty()) {
      box.open = std::make_unique<HandoverBatch>();
    } else {
      box.open = std::move(spare_batches_.back());
      spare_batches_.pop_back();
    }
    box.open->source = index_;
    box.open->target = target;
    ++box.outstanding;
    open_boxes_.push_back(target);
  }
  HandoverBatch& batch = *box.open;
  RemoteCommand& c = batch.commands.emplace_back();
  c.spec = &spec;
  c.caller = CallerOf(s);
  c.session_id = s.st.id;
  c.sequence = s.NextSequence();
  c.argv_begin = static_cast<uint32_t>(batch.arg_sizes.size());
  c.argc = static_cast<uint32_t>(argv.size());
  c.shard = p.shard;
  c.slot = p.key_index >= 0 ? p.slot : storage::kNoSlot;
  c.key_index = p.key_index;
  c.multiple_keys = p.multiple_keys;
  batch.AddArgs(argv);

  Segment& segment = s.segments.Push();
  const ClientReplyMode mode = s.st.reply_mode;
  if (mode != ClientReplyMode::kOn) {
    segment.discard = true;
    if (mode == ClientReplyMode::kSkipThis) s.st.reply_mode = ClientReplyMode::kOn;
  }
  s.st.asking = false;
  s.last_spec = &spec;
  ++s.st.total_commands;
  ++stats_.handed_over;
  return Outcome::kDone;
}

void LoopImpl::SendBatch(Outbox& box) {
  const uint32_t target = box.open->target;
  open_boxes_.erase(std::find(open_boxes_.begin(), open_boxes_.end(), target));
  node_->loop(target).mailbox().Post(std::move(box.open));
}

void LoopImpl::TakeBack(std::unique_ptr<HandoverBatch> batch) {
  Outbox& box = outboxes_[batch->target];
  size_t begin = 0;
  uint64_t last_id = 0;
  ClientSession* s = nullptr;
  for (const RemoteCommand& c : batch->commands) {
    const std::string_view reply(batch->replies.data() + begin, c.reply_end - begin);
    begin = c.reply_end;
    CommandInfo& info = *InfoOf(c.spec);
    if (c.rejected) {
      ++info.stats.rejected_calls;
    } else {
      ++info.stats.calls;
      ++stats_.commands;
      info.cycles += c.cycles;
      if (!reply.empty() && reply[0] == '-') ++info.stats.failed_calls;
    }
    if (!reply.empty() && reply[0] == '-') CountError(reply);
    if (s == nullptr || c.session_id != last_id) {
      s = Find(c.session_id);
      last_id = c.session_id;
    }
    if (c.cycles >= slow_cycles_ && !c.rejected) {
      LogSlow(*c.spec, Args(batch->argv.data() + c.argv_begin, c.argc), s == nullptr ? std::string() : s->st.addr,
              s == nullptr ? std::string() : s->st.name, c.cycles);
    }
    if (s == nullptr) continue;  // the client has gone
    if (c.wrote != 0) s->NoteWrite(c.shard, c.wrote);
    Segment& segment = s->segments[c.sequence - s->first_sequence];
    segment.ready = true;
    Touch(*s);
    s->reply_hint = std::max(reply.size(), s->reply_hint - s->reply_hint / 16);
    if (segment.discard || reply.empty()) continue;
    if (c.sequence == s->first_sequence) {
      // The next one to go out: straight to the output.
      const size_t at = s->out.size();
      s->out.Append(reply);
      if (c.lsn != 0) s->AddBarrier(at, c.shard, c.lsn);
      s->Advance();
      continue;
    }
    segment.bytes.Append(reply);
    segment.shard = c.shard;
    segment.lsn = c.lsn;
    s->held_bytes += reply.size();
  }
  const bool counted = batch->counted;
  batch->Reset();
  if (spare_batches_.size() < 2 * kCredits) spare_batches_.push_back(std::move(batch));
  if (counted) --box.outstanding;
  if (!box.waiting.empty()) {
    for (uint64_t id : box.waiting) resume_later_.push_back(id);
    box.waiting.clear();
  }
}

void LoopImpl::Touch(ClientSession& s) {
  if (s.touched) return;
  s.touched = true;
  touched_.push_back(s.st.id);
}

void LoopImpl::FlushTouched() {
  for (size_t i = 0; i < touched_.size(); ++i) {
    ClientSession* s = Find(touched_[i]);
    if (s == nullptr) continue;
    s->touched = false;
    s->Advance();
    if (s->park == Park::kOrder && s->segments.empty()) {
      Resume(*s);
    } else {
      Flush(*s);
    }
  }
  touched_.clear();
}

// ---- The shard's loop ----------------------------------------------------------------------------------------------

void LoopImpl::RunBatch(std::unique_ptr<HandoverBatch> batch) {
  HandoverBatch& b = *batch;
  if (b.argv.empty()) {
    const char* p = b.bytes.data();
    b.argv.reserve(b.arg_sizes.size());
    for (uint32_t size : b.arg_sizes) {
      b.argv.emplace_back(p, size);
      p += size;
    }
    b.keys.resize(b.commands.size());
    for (size_t i = 0; i < b.commands.size(); ++i) {
      const RemoteCommand& c = b.commands[i];
      if (c.key_index >= 0) b.keys[i].emplace(b.argv[c.argv_begin + c.key_index], c.slot);
    }
  }
  if (!stalled_.empty() && SetAside(batch)) return;
  FreshenClock();
  worked_ = true;
  size_t fetched = b.next;
  while (b.next < b.commands.size()) {
    if (b.next == fetched) {
      const size_t end = std::min(b.commands.size(), fetched + kBatch);
      for (int stage = 0; stage < 3 && end - fetched > 1; ++stage) {
        for (size_t i = fetched; i < end; ++i) {
          const RemoteCommand& c = b.commands[i];
          if (c.key_index >= 0) hosts_[c.shard]->shard->Prefetch(c.caller.db, *b.keys[i], stage);
        }
      }
      fetched = end;
    }
    RemoteCommand& c = b.commands[b.next];
    ShardHost& host = *hosts_[c.shard];
    absl::Status room;
    if (c.spec->flags & kFlagWrite) {
      room = MayWrite(host);
      if (room.code() == absl::StatusCode::kUnavailable) {
        stalled_sessions_.insert(c.session_id);
        if (SetAside(batch)) return;
        fetched = b.next;
        continue;
      }
    }
    if (room.ok() && OverMemory(*c.spec)) room = absl::ResourceExhaustedError(kOutOfMemory);
    const Args argv(b.argv.data() + c.argv_begin, c.argc);
    ReplyWriter reply(&b.replies, c.caller.resp);
    Call call{c.spec, argv, &reply, c.caller};
    call.shard = host.shard;
    call.loop = this;
    call.node = node_;
    call.config = config_.get();
    if (b.keys[b.next].has_value()) call.first_key = &*b.keys[b.next];
    const uint64_t start = ReadCycles();
    if (checked_ && !MayServe(*c.spec, c.caller, argv, c.slot, c.multiple_keys, host, &reply)) {
      c.rejected = true;
    } else if (!room.ok()) {
      reply.Error(TextOf(room));
      c.rejected = true;
    } else {
      c.lsn = RunInBracket(call, host, c.slot, &c.wrote);
    }
    c.cycles = ReadCycles() - start;
    c.reply_end = b.replies.size();
    ++b.next;
  }
  b.answered = true;
  const uint32_t source = b.source;
  node_->loop(source).mailbox().Post(std::move(batch));
}

bool LoopImpl::SetAside(std::unique_ptr<HandoverBatch>& batch) {
  if (batch->next == 0 && batch->AllOf(stalled_sessions_)) {
    stalled_.push_back(std::move(batch));
    return true;
  }
  if (std::unique_ptr<HandoverBatch> off = batch->SplitOff(stalled_sessions_)) stalled_.push_back(std::move(off));
  return false;
}

void LoopImpl::RunStalled() {
  stalled_sessions_.clear();
  std::vector<std::unique_ptr<HandoverBatch>> waiting;
  waiting.swap(stalled_);
  for (auto& batch : waiting) RunBatch(std::move(batch));
}

}  // namespace skein::node
