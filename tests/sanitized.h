// Whether a test is built with a sanitizer, which looks at the same code, only slower: less of the same is enough then.
#ifndef SKEIN_TESTS_SANITIZED_H_
#define SKEIN_TESTS_SANITIZED_H_

namespace skein {

// gcc says it by macros, clang by features.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace skein

#endif  // SKEIN_TESTS_SANITIZED_H_
