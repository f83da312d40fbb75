/* Plugin of the emulator: a log of every store into a range of memory, in order.
 *
 * Arguments: lo=, hi= (addresses), memory= (the file behind the board's memory), base= (its first
 * address), out= (the log). The log has two little-endian words a store: offset from base, and the
 * word that is there afterwards. A store of another size than a word ends the emulator.
 *
 * The plugin interface (version 1, emulator 7.2) is declared by hand: its header is not packaged. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_info;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*memory_callback)(unsigned, uint32_t, uint64_t, void *);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t,
                                           void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, memory_callback, int, int, void *);
bool qemu_plugin_mem_is_store(uint32_t);
unsigned qemu_plugin_mem_size_shift(uint32_t);

EXPORTED int qemu_plugin_version = 1;

enum { NO_REGISTERS = 0, WRITES = 2, WORD_SHIFT = 2, MEMORY_BYTES = 16 << 20 };

static uint64_t lo, hi, base;
static const uint8_t *memory;
static int out = -1;

static void fail(const char *what) {
  fprintf(stderr, "stores plugin: %s\n", what);
  _exit(78);
}

static void on_store(unsigned cpu, uint32_t info, uint64_t address, void *data) {
  (void)cpu, (void)data;
  /* The emulator reports loads too. */
  if (!qemu_plugin_mem_is_store(info) || address < lo || address >= hi) return;
  if (qemu_plugin_mem_size_shift(info) != WORD_SHIFT) fail("a store that is no word");
  uint32_t record[2] = {(uint32_t)(address - base), 0};
  memcpy(&record[1], memory + record[0], 4);
  if (write(out, record, sizeof record) != sizeof record) fail("cannot write the log");
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
  (void)id;
  size_t count = qemu_plugin_tb_n_insns(block);
  for (size_t i = 0; i < count; i++)
    qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(block, i), on_store, NO_REGISTERS,
                                     WRITES, 0);
}

EXPORTED int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc,
                                 char **argv) {
  (void)info;
  for (int i = 0; i < argc; i++) {
    char *value = strchr(argv[i], '=');
    if (!value) fail("arguments are name=value");
    *value++ = 0;
    if (!strcmp(argv[i], "lo")) lo = strtoull(value, 0, 0);
    if (!strcmp(argv[i], "hi")) hi = strtoull(value, 0, 0);
    if (!strcmp(argv[i], "base")) base = strtoull(value, 0, 0);
    if (!strcmp(argv[i], "out")) out = open(value, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (!strcmp(argv[i], "memory")) {
      int file = open(value, O_RDONLY);
      memory = mmap(0, MEMORY_BYTES, PROT_READ, MAP_SHARED, file, 0);
      if (file < 0 || memory == MAP_FAILED) fail("cannot map the memory");
    }
  }
  if (out < 0 || !memory || lo < base || hi > base + MEMORY_BYTES) fail("bad arguments");
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  return 0;
}
