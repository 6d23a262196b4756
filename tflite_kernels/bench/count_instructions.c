// A qemu-user plugin that counts the instructions that run between system calls getppid, which do
// nothing and which a program makes for this:
//   qemu-aarch64 -plugin libcount_instructions.so,out=FILE,getppid=173[,blocks=FILE] PROGRAM
// FILE has a line for each such call: how many instructions ran since the one before it, or since
// the beginning. With `blocks` a file has a line "= N" for the N-th call, and then the blocks of
// instructions that make up most of them: how often each ran, how many instructions it has, and
// these.
//
// Debian has no package of qemu-plugin.h, so what is used of it is declared here (API version 1).
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t Id;
struct qemu_info;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum Registers { kNoRegisters };

void qemu_plugin_register_vcpu_tb_trans_cb(Id id, void (*cb)(Id, struct qemu_plugin_tb*));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb* tb,
                                          void (*cb)(unsigned int vcpu, void* data),
                                          enum Registers flags, void* data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb* tb);
struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb* tb, size_t index);
char* qemu_plugin_insn_disas(const struct qemu_plugin_insn* instruction);
typedef void SyscallCallback(Id id, unsigned int vcpu, int64_t number, uint64_t a1, uint64_t a2,
                             uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7,
                             uint64_t a8);
void qemu_plugin_register_vcpu_syscall_cb(Id id, SyscallCallback* cb);

EXPORT int qemu_plugin_version = 1;

// Blocks with less than this share of all instructions are left out.
static const double kLeastShare = 1e-4;

struct Block {
  uint64_t runs;  // since the last call
  uint64_t length;
  char** instructions;  // texts; null if they are not wanted
  struct Block* before;
};

static struct Block* last;
static FILE *out, *blocks;
static int64_t getppid_number = -1;
static int calls;

static void* Allocate(size_t count, size_t size) {
  void* memory = calloc(count, size);
  if (memory == NULL) abort();
  return memory;
}

static void Ran(unsigned int vcpu, void* data) {
  (void)vcpu;
  // Threads run at once.
  __atomic_fetch_add(&((struct Block*)data)->runs, 1, __ATOMIC_RELAXED);
}

static void Translated(Id id, struct qemu_plugin_tb* tb) {
  (void)id;
  struct Block* block = Allocate(1, sizeof(*block));
  block->length = qemu_plugin_tb_n_insns(tb);
  if (blocks != NULL) {
    block->instructions = Allocate(block->length, sizeof(char*));
    for (size_t i = 0; i < block->length; ++i) {
      block->instructions[i] = qemu_plugin_insn_disas(qemu_plugin_tb_get_insn(tb, i));
    }
  }
  block->before = __atomic_load_n(&last, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(&last, &block->before, block, 1, __ATOMIC_RELEASE,
                                      __ATOMIC_RELAXED)) {
  }
  qemu_plugin_register_vcpu_tb_exec_cb(tb, Ran, kNoRegisters, block);
}

static void Called(Id id, unsigned int vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                   uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
  (void)id, (void)vcpu, (void)a1, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7,
      (void)a8;
  if (number != getppid_number) return;
  uint64_t total = 0;
  struct Block* const newest = __atomic_load_n(&last, __ATOMIC_ACQUIRE);
  for (const struct Block* block = newest; block != NULL; block = block->before) {
    total += block->runs * block->length;
  }
  fprintf(out, "%" PRIu64 "\n", total);
  if (blocks != NULL) fprintf(blocks, "= %d\n", calls);
  ++calls;
  for (struct Block* block = newest; block != NULL; block = block->before) {
    const uint64_t runs = __atomic_exchange_n(&block->runs, 0, __ATOMIC_RELAXED);
    if (blocks == NULL || (double)(runs * block->length) <= kLeastShare * (double)total) continue;
    fprintf(blocks, "%" PRIu64 " %" PRIu64 "\n", runs, block->length);
    for (size_t i = 0; i < block->length; ++i) fprintf(blocks, "%s\n", block->instructions[i]);
  }
  fflush(out);
  if (blocks != NULL) fflush(blocks);
}

// What follows `name` in an argument, or null.
static const char* ValueOf(const char* argument, const char* name) {
  const size_t length = strlen(name);
  return strncmp(argument, name, length) == 0 ? argument + length : NULL;
}

EXPORT int qemu_plugin_install(Id id, const struct qemu_info* info, int argc, char** argv) {
  (void)info;
  for (int i = 0; i < argc; ++i) {
    const char* value;
    if ((value = ValueOf(argv[i], "out=")) != NULL) {
      out = fopen(value, "w");
    } else if ((value = ValueOf(argv[i], "blocks=")) != NULL) {
      blocks = fopen(value, "w");
      if (blocks == NULL) return 1;
    } else if ((value = ValueOf(argv[i], "getppid=")) != NULL) {
      getppid_number = strtol(value, NULL, 10);
    } else {
      return 1;
    }
  }
  if (out == NULL || getppid_number < 0) return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, Translated);
  qemu_plugin_register_vcpu_syscall_cb(id, Called);
  return 0;
}
