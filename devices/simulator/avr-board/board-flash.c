/*
 * Flash memory as the datasheet has it, where simavr 1.6 takes it easy: a page takes 4 ms to erase and 4 ms to write, writing only clears
 * bits, words of the page buffer that nobody filled stay erased. It is a file mapped into memory, so what was programmed survives a kill.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "avr_flash.h"
#include "board.h"
#include "sim_hex.h"

enum { PAGE_OPERATION_US = 4000, BEYOND_BYTES = 4096 };

static avr_flash_t *controller;
static unsigned operations;
static unsigned cut_operation;
static cut_moment_t cut_moment;
static bool is_cut;
static int (*simavr_ioctl)(avr_io_t *io, uint32_t control, void *parameter);

void flash_cut_at(unsigned operation, cut_moment_t moment) {
  cut_operation = operation == 0 ? 0 : operations + operation;
  cut_moment = moment;
}

bool flash_was_cut(void) {
  bool was = is_cut;
  is_cut = false;
  return was;
}

static avr_cycle_count_t page_operation_ends(avr_t *avr, avr_cycle_count_t when, void *parameter) {
  (void)when;
  (void)parameter;
  avr_regbit_clear(avr, controller->selfprgen);
  return 0;
}

/* Changes the first `bytes` of a page: all of them, or those that a power cut left time for. */
static void change_page(avr_t *avr, uint32_t address, bool erases, unsigned bytes) {
  uint8_t *page = avr->flash + address;
  for (unsigned i = 0; i < bytes; i++) {
    if (erases) {
      page[i] = 0xff;
    } else if (controller->tmppage_used[i / 2]) {
      page[i] &= controller->tmppage[i / 2] >> (i % 2 * 8);
    }
  }
}

/* The SPM instruction; what is no page operation stays simavr's. */
static int on_spm(avr_io_t *io, uint32_t control, void *parameter) {
  avr_t *avr = io->avr;
  bool erases = avr_regbit_get(avr, controller->pgers);
  bool writes = avr_regbit_get(avr, controller->pgwrt);
  if (control != AVR_IOCTL_FLASH_SPM || !avr_regbit_get(avr, controller->selfprgen) || !(erases || writes)) {
    return simavr_ioctl(io, control, parameter);
  }
  unsigned size = controller->spm_pagesize;
  uint32_t address = avr->data[R_ZL] | avr->data[R_ZH] << 8;
  if (avr->rampz) address |= (uint32_t)avr->data[avr->rampz] << 16;
  address = (address & avr->flashend) / size * size;

  operations++;
  if (operations == cut_operation) {
    static const unsigned halves[] = {[CUT_BEFORE] = 0, [CUT_DURING] = 1, [CUT_AFTER] = 2};
    change_page(avr, address, erases, size / 2 * halves[cut_moment]);
    is_cut = true;
    say("cut %s 0x%x %u", erases ? "erase" : "write", address, operations);
    return 0;
  }
  change_page(avr, address, erases, size);
  if (writes) memset(controller->tmppage_used, 0, size / 2);
  say("%s 0x%x %u", erases ? "erased" : "written", address, operations);
  /* SPMEN reads as one until the page is done; loaders wait for that. */
  avr_cycle_timer_cancel(avr, page_operation_ends, NULL);
  avr_cycle_timer_register_usec(avr, PAGE_OPERATION_US, page_operation_ends, NULL);
  return 0;
}

void flash_open(avr_t *avr, const char *path, bool *was_empty) {
  size_t size = avr->flashend + 1;
  int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) fail("%s: cannot be opened", path);
  *was_empty = lseek(file, 0, SEEK_END) < (off_t)size;
  if (ftruncate(file, (off_t)size) != 0) fail("%s: cannot be made %zu bytes long", path, size);
  /* simavr looks one word past the end for its own opcode of an overrun. */
  uint8_t *memory = mmap(NULL, size + BEYOND_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("no memory for %zu bytes of flash", size);
  memcpy(memory + size, avr->flash + size, 2);
  if (mmap(memory, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED) fail("%s: cannot be mapped", path);
  close(file);
  if (*was_empty) memset(memory, 0xff, size);
  avr->flash = memory;
  avr->codeend = avr->flashend;

  for (avr_io_t *io = avr->io_port; io != NULL; io = io->next) {
    if (strcmp(io->kind, "flash") != 0) continue;
    controller = (avr_flash_t *)io;
    simavr_ioctl = io->ioctl;
    io->ioctl = on_spm;
  }
  if (controller == NULL) fail("this microcontroller cannot program itself");
}

uint32_t flash_load(avr_t *avr, const char *intel_hex_path) {
  ihex_chunk_p chunks;
  uint32_t lowest = UINT32_MAX;
  /* All of them: Optiboot keeps its version in a second one, at the very end. */
  int count = read_ihex_chunks(intel_hex_path, &chunks);
  if (count <= 0) fail("%s: no Intel HEX", intel_hex_path);
  for (int i = 0; i < count; i++) {
    if (chunks[i].size == 0) continue;
    if (chunks[i].baseaddr + chunks[i].size > avr->flashend + 1) fail("%s: goes past the end of the flash", intel_hex_path);
    memcpy(avr->flash + chunks[i].baseaddr, chunks[i].data, chunks[i].size);
    if (chunks[i].baseaddr < lowest) lowest = chunks[i].baseaddr;
  }
  free_ihex_chunks(chunks);
  return lowest;
}
