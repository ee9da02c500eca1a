// A status shared by two threads is freed by the one whose count falls to zero; libabsl_status counts where
// ThreadSanitizer does not look, so that it takes the other's last reading for a race with the freeing.
extern "C" const char* __tsan_default_suppressions() { return "race:absl::*Status::Unref\n"; }
