#include "bus/trust/trust.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <set>

#include "gtest/gtest.h"

namespace skein::bus {
namespace {

const std::string kFirst = "correct horse battery staple";
const std::string kSecond = "another secret of some length";

SecretsPtr Make(const std::vector<std::string>& secrets) {
  auto made = Secrets::Create(secrets);
  EXPECT_TRUE(made.ok()) << made.status();
  return *made;
}

Introduction About() {
  Introduction about;
  about.purpose = "bus";
  about.min_version = 1;
  about.max_version = 3;
  about.version = 2;
  about.dialler_nonce.fill(1);
  about.acceptor_nonce.fill(2);
  about.dialler_id = "a";
  about.acceptor_id = "b";
  return about;
}

std::string Text(const uint8_t* bytes, size_t n) { return {reinterpret_cast<const char*>(bytes), n}; }
std::string OurHmac(const std::string& key, const std::string& data) {
  uint8_t out[32];
  unsigned length = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const uint8_t*>(data.data()),
       data.size(), out, &length);
  return Text(out, length);
}

// The same by the words of RFC 2104 and RFC 5869, field by field, so that the bytes on the wire are pinned.
TEST(Trust, TheBytesAreThoseOfTheDescription) {
  const auto field = [](const std::string& text) {
    return std::string{static_cast<char>(text.size()), static_cast<char>(text.size() >> 8)} + text;
  };
  const std::string nonces = field(std::string(32, 1)) + field(std::string(32, 2));
  const std::string numbers("\1\0\3\0\2\0", 6);
  const std::string prefix = field("skein trust 1") + field("bus");
  const std::string extracted = OurHmac("skein trust 1", kFirst);
  const std::string proof_key = OurHmac(extracted, std::string("proofs\1"));

  SecretsPtr secrets = Make({kFirst});
  const Proof dialler = secrets->Prove(0, TrustRole::kDialler, About());
  EXPECT_EQ(Text(dialler.data(), dialler.size()),
            OurHmac(proof_key, prefix + field("proof") + field("dialler") + numbers + nonces + field("a") + field("")));
  const Proof acceptor = secrets->Prove(0, TrustRole::kAcceptor, About());
  EXPECT_EQ(Text(acceptor.data(), acceptor.size()), OurHmac(proof_key, prefix + field("proof") + field("acceptor") +
                                                                           numbers + nonces + field("a") + field("b")));
  const SecretKey key = secrets->FrameKey(0, TrustRole::kDialler, About());
  const std::string frame_key = OurHmac(
      extracted, prefix + field("frames") + field("dialler") + numbers + nonces + field("a") + field("b") + "\1");
  EXPECT_EQ(Text(key.bytes.data(), 32), frame_key);
  FrameTags tags(key);
  uint8_t tag[kTagBytes];
  for (char sequence : {0, 1, 2}) {
    tags.Seal("frame", 5, tag);
    EXPECT_EQ(Text(tag, kTagBytes),
              OurHmac(frame_key, std::string{sequence, 0, 0, 0, 0, 0, 0, 0} + "frame").substr(0, kTagBytes));
  }
}

TEST(Trust, AProofIsForOneHandshakeOnly) {
  SecretsPtr secrets = Make({kFirst});
  const Introduction about = About();
  for (TrustRole role : {TrustRole::kDialler, TrustRole::kAcceptor}) {
    const Proof proof = secrets->Prove(0, role, about);
    EXPECT_EQ(secrets->Check(role, about, proof), 0);
    // Not for the other side: a reflected proof is none.
    EXPECT_EQ(secrets->Check(role == TrustRole::kDialler ? TrustRole::kAcceptor : TrustRole::kDialler, about, proof),
              -1);
    std::vector<Introduction> others(9, about);
    others[0].purpose = "replication";
    others[1].min_version = 2;
    others[2].max_version = 2;
    others[3].version = 1;
    others[4].dialler_nonce[31] ^= 1;
    others[5].acceptor_nonce[0] ^= 1;
    others[6].dialler_id = "c";
    std::swap(others[7].dialler_nonce, others[7].acceptor_nonce);
    others[8].acceptor_id = "c";
    for (size_t i = 0; i < others.size(); ++i) {
      // The dialler does not know whom it has reached when it proves itself; the keys depend on that.
      const bool same = i == 8 && role == TrustRole::kDialler;
      EXPECT_EQ(secrets->Check(role, others[i], proof), same ? 0 : -1) << i;
      EXPECT_FALSE(secrets->FrameKey(0, role, others[i]) == secrets->FrameKey(0, role, about)) << i;
    }
    // Every bit counts.
    for (size_t bit = 0; bit < 8 * kProofBytes; ++bit) {
      Proof flipped = proof;
      flipped[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
      ASSERT_EQ(secrets->Check(role, about, flipped), -1);
    }
  }
  EXPECT_FALSE(secrets->FrameKey(0, TrustRole::kDialler, about) == secrets->FrameKey(0, TrustRole::kAcceptor, about));
}

TEST(Trust, AnySecretOfTheListIsAcceptedAndTheFirstIsUsed) {
  SecretsPtr old_only = Make({kFirst}), both = Make({kSecond, kFirst}), new_only = Make({kSecond});
  const Introduction about = About();
  const Proof by_old = old_only->Prove(0, TrustRole::kDialler, about);
  const Proof by_new = both->Prove(0, TrustRole::kDialler, about);
  EXPECT_EQ(both->Check(TrustRole::kDialler, about, by_old), 1);
  EXPECT_EQ(both->Check(TrustRole::kDialler, about, by_new), 0);
  EXPECT_EQ(new_only->Check(TrustRole::kDialler, about, by_new), 0);
  EXPECT_EQ(new_only->Check(TrustRole::kDialler, about, by_old), -1);
  EXPECT_EQ(old_only->Check(TrustRole::kDialler, about, by_new), -1);
  EXPECT_TRUE(both->FrameKey(1, TrustRole::kDialler, about) == old_only->FrameKey(0, TrustRole::kDialler, about));
  EXPECT_TRUE(both->Has(old_only->identity(0)));
  EXPECT_FALSE(new_only->Has(old_only->identity(0)));
}

TEST(Trust, SecretsThatProtectNothingAreRefused) {
  const auto why = [](const std::vector<std::string>& secrets) {
    return std::string(Secrets::Create(secrets).status().message());
  };
  EXPECT_EQ(*Secrets::Create({}), nullptr);
  EXPECT_NE(why({"short"}).find("16 to 1024 bytes"), std::string::npos);
  EXPECT_EQ(why({"short"}).find("short"), std::string::npos);  // never what it is
  EXPECT_NE(why({std::string(1025, 'x')}).find("1024"), std::string::npos);
  EXPECT_NE(why({std::string(40, 'x')}).find("again and again"), std::string::npos);
  EXPECT_NE(why({kFirst, "short"}).find("secret 2 of 2"), std::string::npos);
  EXPECT_NE(why({kFirst, kSecond, kFirst}).find("secret 3 of 3 stands there twice"), std::string::npos);
  std::vector<std::string> many;
  for (char c = 'a'; c < 'j'; ++c) many.push_back(kFirst + c);
  EXPECT_NE(why(many).find("more than 8"), std::string::npos);
}

TEST(Trust, FramesAreAcceptedInTheirOrderOnceAndWhole) {
  const SecretKey key = Make({kFirst})->FrameKey(0, TrustRole::kDialler, About());
  const std::string frames[] = {"one", "two", "three", ""};
  uint8_t tags[4][kTagBytes];
  FrameTags sender(key);
  for (size_t i = 0; i < 4; ++i) sender.Seal(frames[i].data(), frames[i].size(), tags[i]);
  const auto check = [&](FrameTags* to, size_t i) { return to->Check(frames[i].data(), frames[i].size(), tags[i]); };
  {
    FrameTags good(key);
    for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(check(&good, i));
    EXPECT_EQ(good.frames(), 4u);
    EXPECT_FALSE(check(&good, 0));  // a repeated session
  }
  {
    FrameTags repeated(key);
    EXPECT_TRUE(check(&repeated, 0));
    EXPECT_FALSE(check(&repeated, 0));
    EXPECT_FALSE(check(&repeated, 1));  // and nothing after that
  }
  for (size_t first : {1, 2, 3}) {
    FrameTags swapped(key);
    EXPECT_FALSE(check(&swapped, first));
  }
  {
    FrameTags flipped(key);
    EXPECT_FALSE(flipped.Check("onf", 3, tags[0]));
  }
  {
    FrameTags shorter(key);
    EXPECT_FALSE(shorter.Check("on", 2, tags[0]));
  }
  {
    // The other direction's key.
    FrameTags other(Make({kFirst})->FrameKey(0, TrustRole::kAcceptor, About()));
    EXPECT_FALSE(check(&other, 0));
  }
}

TEST(Trust, NoncesAreNew) {
  std::set<Nonce> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(NewNonce());
  EXPECT_EQ(seen.size(), 1000u);
}

}  // namespace
}  // namespace skein::bus
