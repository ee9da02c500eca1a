// What tsan_suppressions.cc says is believed: this test fails under ThreadSanitizer alone, and without it.
#include <dirent.h>
#include <gtest/gtest.h>
#include <uv.h>

#include <atomic>
#include <thread>

namespace {

TEST(Sanitizer, ADescriptorThatLibuvHasClosedMayBeAnothersNext) {
  std::atomic<bool> closed{false};
  std::thread loop([&] {
    uv_loop_t uv;
    uv_async_t async;
    ASSERT_EQ(uv_loop_init(&uv), 0);
    ASSERT_EQ(uv_async_init(&uv, &async, [](uv_async_t* self) { uv_close(reinterpret_cast<uv_handle_t*>(self), nullptr); }),
              0);
    ASSERT_EQ(uv_async_send(&async), 0);
    ASSERT_EQ(uv_run(&uv, UV_RUN_DEFAULT), 0);
    ASSERT_EQ(uv_loop_close(&uv), 0);
    closed.store(true, std::memory_order_relaxed);  // orders nothing
  });
  while (!closed.load(std::memory_order_relaxed)) std::this_thread::yield();
  // Each takes the least number that is free.
  DIR* folders[4];
  for (DIR*& folder : folders) ASSERT_NE(folder = opendir("/"), nullptr);
  for (DIR* folder : folders) EXPECT_EQ(closedir(folder), 0);
  loop.join();
}

}  // namespace
