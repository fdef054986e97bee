/*
 * UART 0 on a pseudo-terminal. Bytes take the time that they take on a wire; two ends with different baud rates hear noise; the receiver
 * holds two bytes and one half received, and what comes on top is lost; a closed line loses everything, as a wire does.
 */
#define _GNU_SOURCE
#include <asm/termbits.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "avr_uart.h"
#include "board.h"
#include "sim_io.h"

enum { BITS_A_BYTE = 10, RECEIVER_BYTES = 3, FIFO_BYTES = 64 };

static avr_t *avr;
static avr_uart_t *uart;
static avr_irq_t *receive_irq;
static int master = -1;
static char terminal[64];
static const char *link_name;
static bool is_open;
static bool hears_noise;
static unsigned host_baud = 115200;
static bool lost_bytes;

static uint8_t to_board[4096];
static unsigned to_board_at, to_board_count;
static uint8_t to_host[4096];
static unsigned to_host_count;
static avr_cycle_count_t next_byte_at;

static void on_transmit(avr_irq_t *irq, uint32_t value, void *parameter) {
  (void)irq;
  (void)parameter;
  if (to_host_count == sizeof to_host) return;
  to_host[to_host_count++] = hears_noise ? (uint8_t)(value * 7 + 0x91) : (uint8_t)value;
}

/* Without a cable of its own a terminal must not change what goes over it. */
static void make_raw(int terminal_descriptor) {
  struct termios2 settings;
  if (ioctl(terminal_descriptor, TCGETS2, &settings) != 0) fail("no settings of the pseudo-terminal");
  settings.c_iflag = settings.c_oflag = settings.c_lflag = 0;
  settings.c_cflag = B115200 | CS8 | CREAD | CLOCAL;
  settings.c_cc[VMIN] = 1;
  settings.c_cc[VTIME] = 0;
  if (ioctl(terminal_descriptor, TCSETS2, &settings) != 0) fail("the pseudo-terminal takes no settings");
}

void line_open(avr_t *board, const char *link_path) {
  avr = board;
  link_name = link_path;
  master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0 || ptsname_r(master, terminal, sizeof terminal) != 0) fail("no pseudo-terminal");
  int slave = open(terminal, O_RDWR | O_NOCTTY);
  if (slave < 0) fail("%s: cannot be opened", terminal);
  make_raw(slave);
  /* Not kept: the master's hang-up tells when a host opens and closes the line. */
  close(slave);
  if (link_name != NULL) {
    unlink(link_name);
    if (symlink(terminal, link_name) != 0) fail("%s: cannot be linked", link_name);
  }
  for (avr_io_t *io = avr->io_port; io != NULL; io = io->next) {
    if (strcmp(io->kind, "uart") == 0 && ((avr_uart_t *)io)->name == '0') uart = (avr_uart_t *)io;
  }
  if (uart == NULL) fail("this microcontroller has no UART 0");
  uint32_t flags = 0; /* neither prints nor sleeps: the board keeps the time itself */
  avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
  receive_irq = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
  avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), on_transmit, NULL);
}

const char *line_path(void) { return terminal; }
int line_descriptor(void) { return master; }

void line_close(void) {
  char target[sizeof terminal] = "";
  /* Only if nobody has replaced it meanwhile. */
  if (link_name != NULL && readlink(link_name, target, sizeof target - 1) > 0 && strcmp(target, terminal) == 0) unlink(link_name);
}

void line_reset(void) {
  to_board_at = to_board_count = to_host_count = 0;
  next_byte_at = 0;
  lost_bytes = false;
}

static unsigned cycles_a_bit(void) {
  unsigned divisor = (avr_regbit_get(avr, uart->ubrrl) | avr_regbit_get(avr, uart->ubrrh) << 8) + 1;
  return divisor * (avr_regbit_get(avr, uart->u2x) ? 8 : 16);
}

void line_clock(void) {
  if (to_board_at == to_board_count || avr->cycle < next_byte_at) return;
  unsigned held = (FIFO_BYTES + uart->input.write - uart->input.read) % FIFO_BYTES;
  uint8_t byte = to_board[to_board_at++];
  next_byte_at = avr->cycle + (avr_cycle_count_t)BITS_A_BYTE * avr->frequency / host_baud;
  if (!avr_regbit_get(avr, uart->rxen)) return;
  if (held >= RECEIVER_BYTES) {
    if (!lost_bytes) say("overrun");
    lost_bytes = true;
    return;
  }
  avr_raise_irq(receive_irq, hears_noise ? (uint32_t)(uint8_t)(byte * 5 + 0x63) | UART_INPUT_FE : byte);
}

/* A receiver stands 4 % of a difference, ten bits long. */
static void compare_rates(void) {
  struct termios2 settings;
  if (ioctl(master, TCGETS2, &settings) == 0 && settings.c_ospeed >= 50) host_baud = settings.c_ospeed;
  double board_baud = (double)avr->frequency / cycles_a_bit();
  double ratio = board_baud / host_baud;
  hears_noise = ratio < 0.96 || ratio > 1.04;
  /* simavr counts a parity bit that nobody sends. */
  uart->cycles_per_byte = BITS_A_BYTE * cycles_a_bit();
}

/* simavr forgets that there is room in a transmitter that was off for a while; the real one says so from its reset on. */
static void mend_transmitter(void) {
  if (avr_regbit_get(avr, uart->txen) && uart->tx_cnt == 0 && !avr_regbit_get(avr, uart->udrc.raised)) avr_raise_interrupt(avr, &uart->udrc);
}

bool line_exchange(bool powered) {
  compare_rates();
  mend_transmitter();
  struct pollfd wanted = {.fd = master, .events = POLLIN};
  poll(&wanted, 1, 0);
  bool was_open = is_open;
  is_open = (wanted.revents & POLLHUP) == 0;
  if (is_open != was_open) say("host %s", is_open ? "opened" : "closed");
  if (!is_open || !powered) to_host_count = 0;
  if (to_host_count > 0) {
    ssize_t count = write(master, to_host, to_host_count);
    if (count > 0) {
      memmove(to_host, to_host + count, to_host_count - (size_t)count);
      to_host_count -= (unsigned)count;
    }
  }
  if ((wanted.revents & POLLIN) != 0 && to_board_at == to_board_count) {
    ssize_t count = read(master, to_board, sizeof to_board);
    to_board_at = 0;
    to_board_count = count > 0 && powered ? (unsigned)count : 0;
  }
  return is_open && !was_open;
}
