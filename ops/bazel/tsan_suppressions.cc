// What ThreadSanitizer must be told of libraries that it does not look into.
#include <dlfcn.h>
#include <sys/syscall.h>

#include <cstdarg>

// A status shared by two threads is freed by the one whose count falls to zero; libabsl_status counts where
// ThreadSanitizer does not look, so that it takes the other's last reading for a race with the freeing.
extern "C" const char* __tsan_default_suppressions() { return "race:absl::*Status::Unref\n"; }

extern "C" void __sanitizer_syscall_pre_impl_close(long fd);  // of sanitizer/linux_syscall_hooks.h, which GCC lacks

// libuv closes descriptors by bare system calls, which go unseen: whoever gets the number next would look like a second
// user of the descriptor of before.
extern "C" long syscall(long number, ...) noexcept {
  static const auto next = reinterpret_cast<long (*)(long, ...)>(dlsym(RTLD_NEXT, "syscall"));
  va_list list;
  va_start(list, number);
  long a[6];  // more than most calls have; the rest is whatever stands there
  for (long& argument : a) argument = va_arg(list, long);
  va_end(list);
  if (number == SYS_close) __sanitizer_syscall_pre_impl_close(a[0]);
  return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
