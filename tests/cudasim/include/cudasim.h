/* SPDX-License-Identifier: Apache-2.0
 *
 * What a test may ask of cudasim beyond the CUDA runtime: which reports it expects, seeds, planted
 * faults, counts. All functions are weak: on a real libcudart they are null, and
 * cudasim_is_present() answers 0. Thread-safe. C and C++.
 */
#ifndef CUDASIM_H
#define CUDASIM_H

#ifdef __cplusplus
extern "C" {
#endif

enum cudasim_finding {
  CUDASIM_OUT_OF_BOUNDS,
  CUDASIM_UNALLOCATED,
  CUDASIM_USE_AFTER_FREE,
  CUDASIM_USE_BEFORE_ALLOCATION,
  CUDASIM_UNORDERED_USE,
  CUDASIM_UNORDERED_FREE,
  CUDASIM_RACE,
  CUDASIM_MISALIGNED,
  CUDASIM_DEADLOCK,
  CUDASIM_LEAK,
  CUDASIM_STALE_HANDLE,
  CUDASIM_KERNEL_FAULT,
  CUDASIM_UNSUPPORTED,
  CUDASIM_SPOILT_CAPTURE,
  CUDASIM_THREAD_END,
  CUDASIM_FORKED_CHILD
};

#define CUDASIM_API __attribute__((weak))

/* Reports of a kind since the last call with that kind. What is taken is expected; what nobody
 * takes makes the process fail with status 86 at its end. */
CUDASIM_API unsigned long long cudasim_take_reports(enum cudasim_finding kind);
/* Reports of all kinds that nobody has taken. */
CUDASIM_API unsigned long long cudasim_untaken_reports(void);
/* Copies the latest report's text; answers its length without the terminating zero. */
CUDASIM_API unsigned long long cudasim_latest_report(char* text, unsigned long long bytes);
/* Reports what is not freed or destroyed now, as the end of the process would: memory, streams,
 * events, graphs, pools. What has been reported once is not reported again. */
CUDASIM_API void cudasim_report_leaks(void);
/* 1: reports are counted and not printed. */
CUDASIM_API void cudasim_set_quiet(int quiet);

/* The host reads or writes these bytes of pinned, registered or managed memory now: what races with
 * that is reported. For every word and in every run, where CUDASIM_HOST_RACES sees the first access
 * of a page. */
CUDASIM_API void cudasim_host_read(const void* at, unsigned long long bytes);
CUDASIM_API void cudasim_host_write(void* at, unsigned long long bytes);

/* Ends the error that a faulting kernel left, so that a test may go on. */
CUDASIM_API void cudasim_clear_error(void);
/* Streams and blocks run in the order that the seed says; 0: in order. */
CUDASIM_API void cudasim_set_seed(unsigned long long seed);
/* The nth call of the named function from now on (1: the next) answers the error and does nothing
 * else; if `stays`, so do all later ones. A null name counts the calls of all functions together,
 * those of the driver that the program has asked for too; not counted is what only reads an error
 * (cudaGetLastError, cudaPeekAtLastError, cudaGetErrorName, cudaGetErrorString). */
CUDASIM_API void cudasim_fail_call(const char* function, unsigned long long nth, int error,
                                   int stays);
CUDASIM_API void cudasim_fail_no_call(void);
/* The same call, and the device is lost with it: no operation runs any more, and every call that
 * needs a device answers the error, cudaGetLastError too. cudasim_clear_error ends that. */
CUDASIM_API void cudasim_lose_device(const char* function, unsigned long long nth, int error);
/* Another thread seems to begin and end captures between two calls of the program, at moments that
 * the seed says; 0: no more. They are captures of a stream that the program does not know, in the
 * global mode, and of streams that it lends, in any mode. A call that spoils one, or becomes a part
 * of it, is reported (CUDASIM_SPOILT_CAPTURE). */
CUDASIM_API void cudasim_set_foreign_captures(unsigned long long seed);
/* 1: calls of this thread are those of the code that is tested, until 0; answers what it was. Once
 * a thread has said so, captures begin before calls that are watched only, and a call of anything
 * else is preceded by the end of a capture that it would spoil or that its stream takes part in. */
CUDASIM_API int cudasim_watch(int is_watched);
/* The stream (a cudaStream_t) may be captured so, until it is destroyed. The program itself does
 * not enqueue there in watched calls. */
CUDASIM_API void cudasim_lend_stream(void* stream);
/* How many such captures have begun. */
CUDASIM_API unsigned long long cudasim_foreign_captures(void);
/* How many planted faults have struck; the name of the function that the latest one struck is
 * copied, if there is room (bytes may be 0). */
CUDASIM_API unsigned long long cudasim_faults_struck(char* function, unsigned long long bytes);
/* So many operations of a stream may be pending; who enqueues more waits for room. 0: no limit. */
CUDASIM_API void cudasim_set_pending_limit(unsigned long long operations);
/* The operations of a stream (a cudaStream_t) that have not run. */
CUDASIM_API unsigned long long cudasim_pending(void* stream);
/* Each device has this much memory from now on. */
CUDASIM_API void cudasim_set_memory(unsigned long long bytes);
/* 0: pools give no freed block a second time. */
CUDASIM_API void cudasim_set_reuse(int reuse);
/* 1: sectors are counted. */
CUDASIM_API void cudasim_count_sectors(int count);

struct cudasim_counts {
  unsigned long long launches;
  unsigned long long copies;
  unsigned long long bytes_to_device;
  unsigned long long bytes_to_host;
  unsigned long long bytes_on_device;
  unsigned long long bytes_filled;
};
struct cudasim_kernel_counts {
  unsigned long long launches;
  unsigned long long thread_instructions;
  unsigned long long atomics; /* one per lane */
  unsigned long long sectors_read;
  unsigned long long sectors_written;
};
/* Calls of one function, by its name without _ptsz; of all functions for a null pointer, but for
 * those that set or ask for the thread's current context (cuCtxPushCurrent and its like). */
CUDASIM_API unsigned long long cudasim_calls(const char* function);
/* The contexts that exist on a device: its primary one and those of cuCtxCreate. */
CUDASIM_API unsigned cudasim_contexts(int device);
CUDASIM_API struct cudasim_counts cudasim_get_counts(void);
/* Of all kernels whose (mangled) name contains `part`. */
CUDASIM_API struct cudasim_kernel_counts cudasim_get_kernel_counts(const char* part);
CUDASIM_API void cudasim_reset_counts(void);

static inline int cudasim_is_present(void) {
  return cudasim_take_reports ? 1 : 0;
}

#ifdef __cplusplus
}
#endif

#endif
