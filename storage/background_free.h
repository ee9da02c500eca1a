// One thread that frees what is too large to be freed between two commands.
#ifndef SKEIN_STORAGE_BACKGROUND_FREE_H_
#define SKEIN_STORAGE_BACKGROUND_FREE_H_

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

namespace skein::storage {

class BackgroundFree {
 public:
  // Memory that only the job knows of from now on.
  class Job {
   public:
    virtual ~Job() = default;
    // Frees a bounded part; false once nothing is left. On the background thread.
    virtual bool Step() = 0;
  };

  // At most `max_jobs` wait at a time.
  explicit BackgroundFree(size_t max_jobs = 1024);
  // Finishes what waits, then ends the thread. Nobody may submit any more.
  ~BackgroundFree();
  BackgroundFree(const BackgroundFree&) = delete;
  BackgroundFree& operator=(const BackgroundFree&) = delete;

  // Takes the job, or leaves it with the caller and returns false if too many wait. Any thread; never waits for a job.
  bool Submit(std::unique_ptr<Job>* job);

 private:
  void Run();

  const size_t max_jobs_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Job>> jobs_;  // under mutex_
  bool stop_ = false;                      // under mutex_
  std::thread thread_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_BACKGROUND_FREE_H_
