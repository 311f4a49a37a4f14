// SPDX-License-Identifier: Apache-2.0
//
// The headers alone in a C11 translation unit, and one life of a pool in C. Status 0: all is well;
// else the line of the first failed step is printed.
#include <tidepool.h>
#include <tidepool/cpu.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(tidepool_tensor) == 16, "as in C++");
_Static_assert(sizeof(tidepool_allocation_options) == 48, "as in C++");
_Static_assert(sizeof(tidepool_pool_options) == 176, "as in C++");
_Static_assert(sizeof(tidepool_tensor_info) == 80, "as in C++");
_Static_assert(sizeof(tidepool_statistics) == 160, "as in C++");
_Static_assert(sizeof(tidepool_device_description) == 96, "as in C++");

#define REQUIRE(condition)                                                                         \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                      \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

static int released;
static void release(void* data, size_t bytes, void* context) {
  (void)bytes;
  free(data);
  ++*(int*)context;
}

int main(void) {
  const tidepool_cpu_backend_options cpu_options = {.size = sizeof cpu_options,
                                                    .arena_bytes = (size_t)1 << 30};
  tidepool_backend* backend = NULL;
  REQUIRE(tidepool_cpu_backend_create(&cpu_options, &backend) == TIDEPOOL_OK);
  const tidepool_pool_options options = {
      .size = sizeof options, .limit_bytes = TIDEPOOL_UNLIMITED, .ready_bytes = TIDEPOOL_NOTHING};
  tidepool_pool* pool = NULL;
  REQUIRE(tidepool_pool_create(&backend, 1, &options, &pool) == TIDEPOOL_OK);

  tidepool_tensor tensors[10];
  REQUIRE(tidepool_allocate_n(pool, 1000, tidepool_device_cpu(), NULL, tensors, 10) == TIDEPOOL_OK);
  tidepool_tensor_id ids[10];
  for (int i = 0; i < 10; ++i) {
    memset(tensors[i].data, i, 1000);
    ids[i] = tensors[i].id;
  }
  for (int i = 0; i < 10; ++i) {
    REQUIRE(((const unsigned char*)tensors[i].data)[999] == i);
  }
  REQUIRE(tidepool_deallocate_n(pool, ids, 10) == TIDEPOOL_OK);

  tidepool_tensor adopted;
  const tidepool_adopt_options foreign = {
      .size = sizeof foreign, .release = release, .context = &released};
  REQUIRE(tidepool_adopt(pool, malloc(100), 100, tidepool_device_cpu(), &foreign, &adopted) ==
          TIDEPOOL_OK);
  REQUIRE(tidepool_deallocate(pool, adopted.id) == TIDEPOOL_OK && released == 1);

  tidepool_statistics sums = {.size = sizeof sums};
  REQUIRE(tidepool_statistics_read(pool, tidepool_device_cpu(), &sums) == TIDEPOOL_OK);
  REQUIRE(sums.allocations == 10 && sums.live == 0);
  REQUIRE(tidepool_allocate(pool, 1, tidepool_device_cuda(0), NULL, &adopted) ==
          TIDEPOOL_UNKNOWN_DEVICE);
  REQUIRE(adopted.id == 0 && adopted.data == NULL);

  size_t live = 1;
  REQUIRE(tidepool_pool_close(pool, &live) == TIDEPOOL_OK && live == 0);
  tidepool_pool_destroy(pool);
  printf("tidepool %s from C\n", tidepool_version());
  return 0;
}
