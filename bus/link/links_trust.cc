#include <cerrno>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "bus/link/links.h"
#include "bus/link/links_internal.h"
#include "glog/logging.h"

namespace skein::bus {

namespace {

// A proof for one class is none for the other.
const char* PurposeOf(LinkClass link_class) { return link_class == LinkClass::kPublish ? "bus publish" : "bus"; }

constexpr size_t kMaxPairings = 16384;

}  // namespace

// ---- TLS

void Links::FinishTls(Link* link, int result, bool wants_write) {
  if (result == -EAGAIN) {
    link->read_wants_write = wants_write;
    if (link->watched) Watch(link);
    return;
  }
  Transport* transport = link->io->transport();
  if (result != 0) {
    CloseReason reason = transport->peer_is_plain() ? CloseReason::kPeerHasNoTls : CloseReason::kTlsFailed;
    return End(link, reason, 0, nullptr, transport->error());
  }
  link->certificate = transport->peer_names();
  link->state = Link::State::kHello;
  // What has come with the end of the handshake may be in the stream already, where no poll sees it.
  link->want_read = true;
  if (link->watched) Watch(link);
  if (link->outbound) QueueHello(link);
}

// ---- The handshake

void Links::QueueHandshake(Link* link, std::string frame) {
  Outgoing out;
  out.frame = std::move(frame);
  out.bytes = static_cast<uint32_t>(out.frame.size());
  Queue(link, std::move(out));
}

void Links::QueueHello(Link* link) {
  Hello mine;
  mine.node_id = node_id_;
  if (link->outbound) mine.link_class = link->link_class;
  if (link->outbound && options_.secrets != nullptr) {
    link->handshake = std::make_unique<SecretHandshake>();
    link->handshake->secrets = options_.secrets;
    Introduction& about = link->handshake->about;
    about.purpose = PurposeOf(link->link_class);
    about.min_version = mine.min_version;
    about.max_version = mine.max_version;
    about.dialler_id = node_id_;
    about.dialler_nonce = NewNonce();
    mine.has_nonce = true;
    mine.nonce = about.dialler_nonce;
  }
  QueueHandshake(link, EncodeHello(mine));
}

void Links::HandleHandshake(Link* link, const HandshakeFrame& frame) {
  const bool waits_for_proof = link->state == Link::State::kProof;
  if (frame.type == FrameType::kHello && !waits_for_proof) {
    Hello hello;
    if (!DecodeHello(frame.payload, &hello)) return End(link, CloseReason::kBadHello);
    return HandleHello(link, hello);
  }
  if (frame.type == FrameType::kChallenge && !waits_for_proof && link->handshake != nullptr && link->outbound) {
    Challenge challenge;
    if (!DecodeChallenge(frame.payload, &challenge)) return End(link, CloseReason::kBadHello);
    return HandleChallenge(link, challenge);
  }
  if (frame.type == FrameType::kProof && waits_for_proof && !link->outbound) {
    Proof proof;
    if (!DecodeProof(frame.payload, &proof)) return End(link, CloseReason::kBadHello);
    return HandleProof(link, proof);
  }
  if (frame.type == FrameType::kAccept && waits_for_proof && link->outbound) {
    Acceptance accept;
    if (!DecodeAccept(frame.payload, &accept)) return End(link, CloseReason::kBadHello);
    return HandleAccept(link, accept);
  }
  End(link, CloseReason::kUnexpectedFrame);
}

void Links::HandleHello(Link* link, const Hello& hello) {
  // A dialler with a secret takes no less than a proof: an answer without one is a downgrade.
  if (link->outbound && link->handshake != nullptr) return End(link, CloseReason::kPeerHasNoSecret);
  const bool proves = !link->outbound && options_.secrets != nullptr;
  if (proves && !hello.has_nonce) return End(link, CloseReason::kPeerHasNoSecret);
  if (!proves && hello.has_nonce) return End(link, CloseReason::kPeerHasSecret);
  if (hello.node_id == node_id_) return End(link, CloseReason::kSelf);
  Hello mine;
  link->version = NegotiateVersion(mine, hello);
  if (link->version == 0) return End(link, CloseReason::kNoCommonVersion);
  link->peer_id = hello.node_id;
  if (!link->outbound) link->link_class = hello.link_class;
  if (!proves) {
    if (!Proven(link) || link->outbound) return;
    return QueueHello(link);
  }
  link->handshake = std::make_unique<SecretHandshake>();
  link->handshake->secrets = options_.secrets;
  Introduction& about = link->handshake->about;
  about.purpose = PurposeOf(link->link_class);
  about.min_version = hello.min_version;
  about.max_version = hello.max_version;
  about.version = link->version;
  about.dialler_id = hello.node_id;
  about.dialler_nonce = hello.nonce;
  about.acceptor_id = node_id_;
  about.acceptor_nonce = NewNonce();
  link->state = Link::State::kProof;
  QueueHandshake(link, EncodeChallenge({link->version, about.acceptor_nonce}));
}

void Links::HandleChallenge(Link* link, const Challenge& challenge) {
  Introduction& about = link->handshake->about;
  if (challenge.version < about.min_version || challenge.version > about.max_version) {
    return End(link, CloseReason::kNoCommonVersion);
  }
  if (challenge.nonce == about.dialler_nonce) return End(link, CloseReason::kReflected);
  about.version = link->version = challenge.version;
  about.acceptor_nonce = challenge.nonce;
  link->state = Link::State::kProof;
  QueueHandshake(link, EncodeProof(link->handshake->secrets->Prove(0, TrustRole::kDialler, about)));
}

void Links::HandleProof(Link* link, const Proof& proof) {
  const Introduction& about = link->handshake->about;
  const Secrets& secrets = *link->handshake->secrets;
  const int secret = secrets.Check(TrustRole::kDialler, about, proof);
  if (secret < 0) return End(link, CloseReason::kBadProof);
  const Acceptance accept{about.acceptor_id, secrets.Prove(static_cast<size_t>(secret), TrustRole::kAcceptor, about)};
  SetTags(link, static_cast<size_t>(secret));
  if (Proven(link)) QueueHandshake(link, EncodeAccept(accept));
}

void Links::HandleAccept(Link* link, const Acceptance& accept) {
  Introduction& about = link->handshake->about;
  about.acceptor_id = accept.node_id;
  // By the secret that we have used, not by an older one.
  if (link->handshake->secrets->Check(TrustRole::kAcceptor, about, accept.proof) != 0) {
    return End(link, CloseReason::kBadProof);
  }
  if (accept.node_id == node_id_) return End(link, CloseReason::kSelf);
  link->peer_id = accept.node_id;
  SetTags(link, 0);
  Proven(link);
}

void Links::SetTags(Link* link, size_t secret) {
  const Secrets& secrets = *link->handshake->secrets;
  const Introduction& about = link->handshake->about;
  const SecretKey by_dialler = secrets.FrameKey(secret, TrustRole::kDialler, about);
  const SecretKey by_acceptor = secrets.FrameKey(secret, TrustRole::kAcceptor, about);
  link->io->SetTags(link->outbound ? by_dialler : by_acceptor, link->outbound ? by_acceptor : by_dialler);
  link->tagged = true;
  link->proven_by = secrets.identity(secret);
  link->handshake.reset();
}

bool Links::Proven(Link* link) {
  // What was good when the handshake began may have been withdrawn since.
  if (link->tls != options_.tls) return End(link, CloseReason::kTlsRenewed), false;
  if (options_.secrets != nullptr && !link->proven_by) return End(link, CloseReason::kPeerHasNoSecret), false;
  if (link->proven_by && (options_.secrets == nullptr || !options_.secrets->Has(*link->proven_by))) {
    return End(link, CloseReason::kSecretWithdrawn), false;
  }
  if (!MatchesCertificate(link)) return false;
  link->state = Link::State::kUp;
  deadlines_.erase({link->deadline_ms, link->id});
  link->unproven_count.Release();
  link->address_count.Release();
  if (!link->outbound) return true;
  LinkId id = link->id;
  if (!link->queue.empty()) WantWrite(link);
  if (link->link_class == LinkClass::kPublish) {
    handler_->OnPublishLinkUp(id);
  } else {
    handler_->OnLinkUp(id);
  }
  return true;
}

bool Links::MatchesCertificate(Link* link) {
  if (link->tls == nullptr) return true;
  auto [at, first] = pairings_.try_emplace(link->peer_id, link->certificate);
  if (first) {
    pairing_order_.push_back(link->peer_id);
    if (pairing_order_.size() > kMaxPairings) {
      pairings_.erase(pairing_order_.front());
      pairing_order_.pop_front();
    }
    return true;
  }
  if (at->second == link->certificate) return true;
  End(link, CloseReason::kCertificateMismatch, 0, nullptr,
      absl::StrCat("seen with '", absl::CEscape(at->second), "', now with '", absl::CEscape(link->certificate), "'"));
  return false;
}

// ---- Secrets and certificates that change

void Links::SetSecrets(SecretsPtr secrets) {
  options_.secrets = std::move(secrets);
  RenewAll();
}

void Links::SetTls(TlsContextPtr tls) {
  options_.tls = std::move(tls);
  RenewAll();
}

void Links::RenewAll() {
  const int64_t now = MonotonicMs();
  for (auto& [id, link] : links_) {
    // Those on their way are looked at when they arrive.
    if (link->state != Link::State::kUp) continue;
    const bool good_secret = options_.secrets == nullptr
                                 ? !link->proven_by
                                 : link->proven_by.has_value() && options_.secrets->Has(*link->proven_by);
    const bool good = good_secret && link->tls == options_.tls;
    if (good == (link->renew_ms == 0)) continue;
    if (good) {
      renewals_.erase({link->renew_ms, id});
      link->renew_ms = 0;
    } else {
      // At another moment each, so that neither this node nor its peers lose all of them at once.
      const auto within = static_cast<uint64_t>(std::max<int64_t>(1, options_.renew_within_ms));
      link->renew_ms = now + 1 + static_cast<int64_t>(jitter_() % within);
      renewals_.emplace(link->renew_ms, id);
    }
  }
}

}  // namespace skein::bus
