// SPDX-License-Identifier: Apache-2.0
//
// tidepool from C11: a pool over host memory, a named tensor and a part of it, a double free that
// is caught, statistics as JSON. Every claim is verified.
#include <tidepool.h>
#include <tidepool/cpu.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The first failed step ends the program with what the library says about it.
static void require(int holds, const char* step) {
  if (!holds) {
    char why[256] = "no call failed";
    (void)tidepool_last_error(why, sizeof why);
    fprintf(stderr, "c_api: %s: %s\n", step, why);
    exit(1);
  }
}

static void count_misuse(const tidepool_misuse_report* report, void* context) {
  printf("caught: %s\n", report->text);
  ++*(int*)context;
}

static tidepool_pool* make_pool(int* misuses) {
  // [pool]
  tidepool_backend* host = NULL;
  tidepool_pool* pool = NULL;
  require(tidepool_cpu_backend_create(NULL, &host) == TIDEPOOL_OK, "host memory");

  const tidepool_pool_options options = {.size = sizeof options,
                                         .limit_bytes = (size_t)64 << 20,
                                         .on_misuse = count_misuse,
                                         .misuse_context = misuses};
  require(tidepool_pool_create(&host, 1, &options, &pool) == TIDEPOOL_OK, "the pool");
  // [/pool]
  return pool;
}

static tidepool_tensor allocate_weights(tidepool_pool* pool) {
  // [allocate]
  tidepool_allocation_options options = {.size = sizeof options,
                                         .category = TIDEPOOL_CATEGORY_WEIGHT};
  require(tidepool_intern(pool, "blk.0.attn_q", &options.name) == TIDEPOOL_OK, "a name");

  tidepool_tensor weights;
  tidepool_status status =
      tidepool_allocate(pool, 1 << 20, tidepool_device_cuda(0), &options, &weights);
  if (status != TIDEPOOL_OK) {
    printf("cuda:0: %s; using the host\n", tidepool_status_text(status));
    status = tidepool_allocate(pool, 1 << 20, tidepool_device_cpu(), &options, &weights);
  }
  require(status == TIDEPOOL_OK, "weights");
  // [/allocate]
  return weights;
}

static void use_a_part(tidepool_pool* pool, tidepool_tensor whole) {
  memset(whole.data, 7, 1 << 20);
  tidepool_tensor part;
  require(tidepool_slice(pool, whole.id, 4096, 64, &part) == TIDEPOOL_OK, "a slice");
  require(((const unsigned char*)part.data)[63] == 7, "the slice has its tensor's bytes");

  tidepool_tensor_info info = {.size = sizeof info};
  require(tidepool_info(pool, part.id, &info) == TIDEPOOL_OK, "information");
  require(info.parent == whole.id && info.bytes == 64, "the slice knows its tensor");
  require(strcmp(tidepool_name_text(pool, info.name), "blk.0.attn_q") == 0, "and its name");
  require(tidepool_deallocate(pool, part.id) == TIDEPOOL_OK, "ending the slice");
}

static void print_statistics(tidepool_pool* pool) {
  // [statistics]
  const size_t length = tidepool_statistics_json(pool, NULL, 0);
  char* const json = malloc(length + 64);  // figures may have grown meanwhile
  require(json != NULL && tidepool_statistics_json(pool, json, length + 64) != 0, "statistics");
  printf("%s\n", json);
  free(json);
  // [/statistics]
}

int main(int count, char** arguments) {
  if (count > 1) {
    printf("usage: c_api\nStatus: 0 all as promised, 1 not so.\n");
    return strcmp(arguments[1], "--help") == 0 ? 0 : 1;
  }
  int misuses = 0;
  printf("tidepool %s\n", tidepool_version());
  tidepool_pool* const pool = make_pool(&misuses);
  const tidepool_tensor weights = allocate_weights(pool);
  use_a_part(pool, weights);

  require(tidepool_deallocate(pool, weights.id) == TIDEPOOL_OK, "the first free");
  require(tidepool_deallocate(pool, weights.id) == TIDEPOOL_STALE_ID, "the second is refused");
  require(misuses == 1, "and reported");
  print_statistics(pool);

  size_t live = 1;
  require(tidepool_pool_close(pool, &live) == TIDEPOOL_OK && live == 0, "nothing is left");
  tidepool_pool_destroy(pool);
  return 0;
}
