// SPDX-License-Identifier: Apache-2.0
//
// Memory of one device as another one reaches it: which access has to be set for which memory, what
// kernels and copies are refused without it, and that setting access makes no context. Two devices
// (CUDASIM_DEVICES). On real GPUs an illegal access would end the process, so those checks are the
// simulator's alone.
#include "virtual_functions.cuh"

namespace {

constexpr int owner = 0;
constexpr int user = 1;
constexpr std::size_t bytes = 4096;

__global__ void add_one(int* p) {
  atomicAdd(p, 1);
}
__global__ void add_up(int* p, std::size_t step, int n) {
  for (int i = 0; i != n; ++i) {
    atomicAdd(p + i * step, 1);
  }
}

bool are_peers() {
  int can = 0;
  expect_success(cudaDeviceCanAccessPeer(&can, user, owner), "cudaDeviceCanAccessPeer");
  return can != 0;
}

cudaMemAccessDesc read_write(int device) {
  return {{cudaMemLocationTypeDevice, device}, cudaMemAccessFlagsProtReadWrite};
}
cudaMemAccessDesc no_access(int device) {
  return {{cudaMemLocationTypeDevice, device}, cudaMemAccessFlagsProtNone};
}

// A pool of the owner's memory.
class device_pool {
 public:
  device_pool() {
    cudaMemPoolProps wanted = {};
    wanted.allocType = cudaMemAllocationTypePinned;
    wanted.location = {cudaMemLocationTypeDevice, owner};
    expect_success(cudaMemPoolCreate(&handle_, &wanted), "cudaMemPoolCreate");
  }
  ~device_pool() {
    for (int* const each : made_) {
      expect_success(cudaFreeAsync(each, nullptr), "cudaFreeAsync");
    }
    expect_synchronised();
    expect_success(cudaMemPoolDestroy(handle_), "cudaMemPoolDestroy");
  }
  device_pool(const device_pool&) = delete;
  device_pool& operator=(const device_pool&) = delete;
  int* make() {
    void* made = nullptr;
    expect_success(cudaMallocFromPoolAsync(&made, bytes, handle_, nullptr), "allocate");
    expect_success(cudaMemsetAsync(made, 0, bytes, nullptr), "fill");
    expect_synchronised();
    made_.push_back(static_cast<int*>(made));
    return made_.back();
  }
  cudaError_t set(const cudaMemAccessDesc& wanted) {
    return cudaMemPoolSetAccess(handle_, &wanted, 1);
  }
  operator cudaMemPool_t() const { return handle_; }

 private:
  cudaMemPool_t handle_ = nullptr;
  std::vector<int*> made_;
};

// The owner's memory at two addresses, one after the other, to which nobody has access yet.
class mapped_pair : virtual_functions {
 public:
  mapped_pair() {
    CUmemAllocationProp wanted = {};
    wanted.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    wanted.location = {CU_MEM_LOCATION_TYPE_DEVICE, owner};
    granularity(&step_, &wanted, CU_MEM_ALLOC_GRANULARITY_MINIMUM);
    EXPECT_EQ(reserve(&at_, 2 * step_, 0, 0, 0), CUDA_SUCCESS);
    for (int i = 0; i != 2; ++i) {
      CUmemGenericAllocationHandle memory = 0;
      EXPECT_EQ(create(&memory, step_, &wanted, 0), CUDA_SUCCESS);
      EXPECT_EQ(map(at_ + i * step_, step_, 0, memory, 0), CUDA_SUCCESS);
      EXPECT_EQ(release(memory), CUDA_SUCCESS);
    }
  }
  ~mapped_pair() {
    EXPECT_EQ(unmap(at_, 2 * step_), CUDA_SUCCESS);
    EXPECT_EQ(free_address(at_, 2 * step_), CUDA_SUCCESS);
  }
  mapped_pair(const mapped_pair&) = delete;
  mapped_pair& operator=(const mapped_pair&) = delete;

  int* at(int part) const { return reinterpret_cast<int*>(at_ + part * step_); }
  std::size_t step() const { return step_; }
  // Of one part, or of both.
  CUresult set(int part, int parts, std::vector<int> devices, bool grants = true) {
    std::vector<CUmemAccessDesc> wanted;
    for (const int each : devices) {
      wanted.push_back(
          {{CU_MEM_LOCATION_TYPE_DEVICE, each},
           grants ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_NONE});
    }
    return set_access(at_ + part * step_, parts * step_, wanted.data(), wanted.size());
  }
  unsigned long long access_of(int part, int device) {
    const CUmemLocation where{CU_MEM_LOCATION_TYPE_DEVICE, device};
    unsigned long long flags = 77;
    EXPECT_EQ(get_access(&flags, &where, at_ + part * step_), CUDA_SUCCESS);
    return flags;
  }

 private:
  std::size_t step_ = 0;
  CUdeviceptr at_ = 0;
};

class PeerAccess : public ::testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count < 2) {
      GTEST_SKIP() << "a second device is needed";
    }
    expect_success(cudaSetDevice(owner), "cudaSetDevice");
  }
  void TearDown() override { expect_success(cudaSetDevice(owner), "cudaSetDevice"); }

  // What work of the user's device ends with. The error is taken, so that the next one is seen.
  template <class F>
  static cudaError_t on_user(F work) {
    expect_success(cudaSetDevice(user), "cudaSetDevice");
    work();
    const cudaError_t error = cudaDeviceSynchronize();
    if (error != cudaSuccess) {
      EXPECT_EQ(cudasim_take_reports(CUDASIM_UNALLOCATED), 1u);
      cudasim_clear_error();
      cudaGetLastError();
    }
    expect_success(cudaSetDevice(owner), "cudaSetDevice");
    return error;
  }
  static cudaError_t kernel_on_user(int* p) {
    return on_user([=] { add_one<<<1, 1>>>(p); });
  }
  // The call itself answers the error already where operations run at once.
  static cudaError_t copy_on_user(void* dst, const void* src) {
    return on_user([=] { (void)cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDefault); });
  }
  static cudaError_t peer_copy_on_user(void* dst, int to, const void* src, int from) {
    return on_user([=] { (void)cudaMemcpyPeerAsync(dst, to, src, from, bytes); });
  }
};

constexpr cudaError_t illegal = cudaErrorIllegalAddress;

TEST_F(PeerAccess, EnablingItIsForPlainMemoryOnly) {
  if (!are_peers() || !cudasim_is_present()) {
    GTEST_SKIP() << "the simulator with peers is needed";
  }
  buffer<int> plain(std::vector<int>(bytes / sizeof(int), 0));
  expect_synchronised();
  device_pool pool;
  int* const pooled = pool.make();
  mapped_pair mapped;
  EXPECT_EQ(mapped.set(0, 2, {owner}), CUDA_SUCCESS);
  EXPECT_EQ(kernel_on_user(plain.data()), illegal);
  EXPECT_EQ(kernel_on_user(pooled), illegal);
  EXPECT_EQ(kernel_on_user(mapped.at(0)), illegal);
  expect_success(cudaSetDevice(user), "cudaSetDevice");
  expect_success(cudaDeviceEnablePeerAccess(owner, 0), "enable");
  EXPECT_EQ(kernel_on_user(plain.data()), cudaSuccess);
  EXPECT_EQ(kernel_on_user(pooled), illegal);
  EXPECT_NE(latest_report().find("cudaMemPoolSetAccess"), std::string::npos);
  EXPECT_EQ(kernel_on_user(mapped.at(0)), illegal);
  expect_success(cudaSetDevice(user), "cudaSetDevice");
  expect_success(cudaDeviceDisablePeerAccess(owner), "disable");
  expect_success(cudaSetDevice(owner), "cudaSetDevice");
}

TEST_F(PeerAccess, OfAPoolIsThatOfAllItsMemory) {
  if (!are_peers() || !cudasim_is_present()) {
    GTEST_SKIP() << "the simulator with peers is needed";
  }
  device_pool pool;
  device_pool other;
  int* const before = pool.make();
  expect_success(pool.set(read_write(user)), "set access");
  int* const after = pool.make();
  EXPECT_EQ(kernel_on_user(before), cudaSuccess);
  EXPECT_EQ(kernel_on_user(after), cudaSuccess);
  EXPECT_EQ(kernel_on_user(other.make()), illegal) << "each pool has its own";
  EXPECT_EQ(values_at(before, 1)[0], 1);
  cudaMemLocation where{cudaMemLocationTypeDevice, user};
  cudaMemAccessFlags flags = cudaMemAccessFlagsProtNone;
  expect_success(cudaMemPoolGetAccess(&flags, pool, &where), "get access");
  EXPECT_EQ(flags, cudaMemAccessFlagsProtReadWrite);
  expect_success(cudaMemPoolGetAccess(&flags, other, &where), "get access");
  EXPECT_EQ(flags, cudaMemAccessFlagsProtNone);
  expect_success(pool.set(no_access(user)), "end access");
  EXPECT_EQ(kernel_on_user(before), illegal);
}

TEST_F(PeerAccess, OfMappingsIsThatOfEach) {
  if (!are_peers() || !cudasim_is_present()) {
    GTEST_SKIP() << "the simulator with peers is needed";
  }
  mapped_pair mapped;
  EXPECT_EQ(mapped.set(0, 1, {owner, user}), CUDA_SUCCESS);
  EXPECT_EQ(mapped.set(1, 1, {owner}), CUDA_SUCCESS);
  EXPECT_EQ(kernel_on_user(mapped.at(0)), cudaSuccess);
  EXPECT_EQ(kernel_on_user(mapped.at(1)), illegal);
  const std::size_t step = mapped.step() / sizeof(int);
  EXPECT_EQ(on_user([&] { add_up<<<1, 1>>>(mapped.at(0), step, 2); }), illegal)
      << "a kernel that goes on into the other mapping";
  EXPECT_EQ(mapped.access_of(0, user), CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
  EXPECT_EQ(mapped.access_of(1, user), CU_MEM_ACCESS_FLAGS_PROT_NONE);
  EXPECT_EQ(mapped.set(0, 2, {user}), CUDA_SUCCESS);
  EXPECT_EQ(on_user([&] { add_up<<<1, 1>>>(mapped.at(0), step, 2); }), cudaSuccess);
  EXPECT_EQ(mapped.access_of(1, owner), CU_MEM_ACCESS_FLAGS_PROT_READWRITE) << "as it was";
  EXPECT_EQ(mapped.set(1, 1, {user}, false), CUDA_SUCCESS);
  EXPECT_EQ(kernel_on_user(mapped.at(1)), illegal);
  EXPECT_EQ(kernel_on_user(mapped.at(0)), cudaSuccess);
}

TEST_F(PeerAccess, MappingsOfAPeerAloneAreNotTheOwners) {
  if (!are_peers() || !cudasim_is_present()) {
    GTEST_SKIP() << "the simulator with peers is needed";
  }
  mapped_pair mapped;
  EXPECT_EQ(mapped.set(0, 2, {user}), CUDA_SUCCESS);
  EXPECT_EQ(kernel_on_user(mapped.at(0)), cudaSuccess);
  add_one<<<1, 1>>>(mapped.at(0));
  EXPECT_EQ(cudaDeviceSynchronize(), illegal);
  EXPECT_EQ(cudasim_take_reports(CUDASIM_UNALLOCATED), 1u);
  cudasim_clear_error();
  cudaGetLastError();
}

// Copies between memory of cudaMalloc need no access. Others do, unless both devices are named.
TEST_F(PeerAccess, CopiesOnAStreamNeedItWhereTheirDeviceCannotReach) {
  if (!cudasim_is_present()) {
    GTEST_SKIP() << "an illegal access would end the process";
  }
  device_pool pool;
  int* const pooled = pool.make();
  buffer<int> plain(bytes / sizeof(int));
  plain.fill(0);
  mapped_pair mapped;
  EXPECT_EQ(mapped.set(0, 2, {owner}), CUDA_SUCCESS);
  expect_success(cudaMemset(mapped.at(0), 0, bytes), "fill");
  expect_synchronised();
  int* there = nullptr;
  expect_success(cudaSetDevice(user), "cudaSetDevice");
  expect_success(cudaMalloc(&there, bytes), "cudaMalloc");
  EXPECT_EQ(copy_on_user(there, plain.data()), cudaSuccess);
  for (int* const out_of_reach : {pooled, mapped.at(0)}) {
    EXPECT_EQ(copy_on_user(there, out_of_reach), illegal);
    EXPECT_EQ(copy_on_user(out_of_reach, there), illegal);
    EXPECT_EQ(peer_copy_on_user(there, user, out_of_reach, owner), cudaSuccess);
    EXPECT_EQ(peer_copy_on_user(out_of_reach, owner, there, user), cudaSuccess);
  }
  if (are_peers()) {
    expect_success(pool.set(read_write(user)), "set access");
    EXPECT_EQ(mapped.set(0, 2, {user}), CUDA_SUCCESS);
    for (int* const in_reach : {pooled, mapped.at(0)}) {
      EXPECT_EQ(copy_on_user(there, in_reach), cudaSuccess);
      EXPECT_EQ(copy_on_user(in_reach, there), cudaSuccess);
    }
  }
  expect_success(cudaFree(there), "cudaFree");
}

TEST_F(PeerAccess, OfAGraphsMemoryIsThatOfItsCapture) {
  if (!are_peers() || !cudasim_is_present()) {
    GTEST_SKIP() << "the simulator with peers is needed";
  }
  for (const bool granted : {false, true}) {
    device_pool pool;
    if (granted) {
      expect_success(pool.set(read_write(user)), "set access");
    }
    scoped_stream stream;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t runs = nullptr;
    void* made = nullptr;
    expect_success(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), "begin");
    expect_success(cudaMallocFromPoolAsync(&made, bytes, pool, stream), "allocate");
    expect_success(cudaStreamEndCapture(stream, &graph), "end");
    expect_success(pool.set(granted ? no_access(user) : read_write(user)), "changed later");
    expect_success(cudaGraphInstantiate(&runs, graph, 0), "instantiate");
    expect_success(cudaGraphLaunch(runs, stream), "launch");
    expect_success(cudaStreamSynchronize(stream), "synchronise");
    EXPECT_EQ(kernel_on_user(static_cast<int*>(made)), granted ? cudaSuccess : illegal);
    expect_success(cudaFree(made), "free");
    expect_success(cudaGraphExecDestroy(runs), "destroy");
    expect_success(cudaGraphDestroy(graph), "destroy");
  }
}

TEST_F(PeerAccess, BadInputIsRefusedAndChangesNothing) {
  device_pool pool;
  mapped_pair mapped;
  EXPECT_EQ(mapped.set(0, 2, {owner}), CUDA_SUCCESS);
  EXPECT_EQ(pool.set(read_write(9)), cudaErrorInvalidDevice);
  EXPECT_EQ(pool.set(no_access(owner)), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaMemPoolSetAccess(pool, nullptr, 1), cudaErrorInvalidValue);
  EXPECT_EQ(pool.set({{cudaMemLocationTypeHost, 0}, cudaMemAccessFlagsProtReadWrite}),
            cudaErrorInvalidValue);
  const cudaMemAccessDesc one_is_bad[] = {read_write(user), read_write(9)};
  EXPECT_EQ(cudaMemPoolSetAccess(pool, one_is_bad, 2), cudaErrorInvalidDevice);
  cudaMemLocation where{cudaMemLocationTypeDevice, user};
  cudaMemAccessFlags flags = cudaMemAccessFlagsProtReadWrite;
  expect_success(cudaMemPoolGetAccess(&flags, pool, &where), "get access");
  EXPECT_EQ(flags, cudaMemAccessFlagsProtNone);
  EXPECT_EQ(mapped.set(0, 2, {user, 9}), CUDA_ERROR_INVALID_DEVICE);
  EXPECT_EQ(mapped.set(0, 2, {}), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(mapped.access_of(0, user), CU_MEM_ACCESS_FLAGS_PROT_NONE);
  if (!are_peers()) {
    EXPECT_EQ(pool.set(read_write(user)), cudaErrorInvalidDevice);
    EXPECT_EQ(mapped.set(0, 2, {user}), CUDA_ERROR_INVALID_DEVICE);
  }
  cudaGetLastError();
}

TEST_F(PeerAccess, SettingItMakesNoContext) {
  if (!are_peers() || !cudasim_is_present()) {
    GTEST_SKIP() << "the simulator with peers is needed";
  }
  expect_success(cudaSetDevice(user), "cudaSetDevice");
  expect_success(cudaDeviceReset(), "cudaDeviceReset");
  expect_success(cudaSetDevice(owner), "cudaSetDevice");
  ASSERT_EQ(cudasim_contexts(user), 0u);
  {
    device_pool pool;
    mapped_pair mapped;
    expect_success(pool.set(read_write(user)), "set access");
    EXPECT_EQ(mapped.set(0, 2, {owner, user}), CUDA_SUCCESS);
    (void)are_peers();
    EXPECT_EQ(cudasim_contexts(user), 0u);
  }
  EXPECT_EQ(cudasim_contexts(user), 0u);
}

}  // namespace
