// A status shared by two threads is freed by the one whose count falls to zero; libabsl_status counts where
// ThreadSanitizer does not look, so that it takes the other's last reading for a race with the freeing.
// libuv closes the descriptor of an event loop by a bare system call, which is not seen either: whoever gets its number
// next looks like a second user of it.
extern "C" const char* __tsan_default_suppressions() {
  return "race:absl::*Status::Unref\nrace:^epoll_ctl$\nrace:^epoll_wait$\nrace:^epoll_pwait$\n";
}
