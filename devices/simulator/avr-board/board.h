/* What the parts of the simulated AVR board share. */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>
#include <stdint.h>
#include "sim_avr.h"

/* One line on stdout; tests go by these. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Ends the program with a message on stderr. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* board-flash.c: flash memory in a file, written as the real one is, with power cuts to order. */
typedef enum { CUT_BEFORE, CUT_DURING, CUT_AFTER } cut_moment_t;
void flash_open(avr_t *avr, const char *path, bool *was_empty);
/* Returns the lowest address of the file. */
uint32_t flash_load(avr_t *avr, const char *intel_hex_path);
/* Power fails at the n-th erase or write of a page from now on; 0 takes it back. */
void flash_cut_at(unsigned operation, cut_moment_t moment);
/* True once after such a cut. */
bool flash_was_cut(void);

/* board-line.c: the UART on a pseudo-terminal, at the rate of the line. */
void line_open(avr_t *avr, const char *link_path);
void line_close(void);
const char *line_path(void);
int line_descriptor(void);
/* Every byte that is under way is lost. */
void line_reset(void);
/* Before each instruction: takes the next byte in when its time has come. */
void line_clock(void);
/* Each simulated millisecond: bytes from and to the host. True when a host has just opened the line. */
bool line_exchange(bool powered);

#endif
