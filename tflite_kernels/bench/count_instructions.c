// A qemu-user plugin that counts the instructions that ran, and prints the number at exit:
//   qemu-aarch64 -plugin libcount_instructions.so,out=FILE PROGRAM
// Debian has no package of qemu-plugin.h, so what is used of it is declared here (API version 1).
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t Id;
struct qemu_info;
struct qemu_plugin_tb;
enum Registers { kNoRegisters };

void qemu_plugin_register_vcpu_tb_trans_cb(Id id, void (*cb)(Id, struct qemu_plugin_tb*));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb* tb,
                                          void (*cb)(unsigned int vcpu, void* data),
                                          enum Registers flags, void* data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb* tb);
void qemu_plugin_register_atexit_cb(Id id, void (*cb)(Id, void*), void* data);

EXPORT int qemu_plugin_version = 1;

static uint64_t instructions;
static char path[4096];

static void Ran(unsigned int vcpu, void* count) {
  (void)vcpu;
  // Threads run at once.
  __atomic_fetch_add(&instructions, (uintptr_t)count, __ATOMIC_RELAXED);
}

static void Translated(Id id, struct qemu_plugin_tb* block) {
  (void)id;
  void* count = (void*)(uintptr_t)qemu_plugin_tb_n_insns(block);
  qemu_plugin_register_vcpu_tb_exec_cb(block, Ran, kNoRegisters, count);
}

static void Exits(Id id, void* data) {
  (void)id, (void)data;
  FILE* file = fopen(path, "w");
  if (file == NULL) return;
  fprintf(file, "%" PRIu64 "\n", instructions);
  fclose(file);
}

EXPORT int qemu_plugin_install(Id id, const struct qemu_info* info, int argc, char** argv) {
  (void)info;
  if (argc != 1 || strncmp(argv[0], "out=", 4) != 0 || strlen(argv[0]) - 4 >= sizeof(path)) {
    return 1;
  }
  strcpy(path, argv[0] + 4);
  qemu_plugin_register_vcpu_tb_trans_cb(id, Translated);
  qemu_plugin_register_atexit_cb(id, Exits, NULL);
  return 0;
}
